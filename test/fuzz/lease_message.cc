// Fuzz target: what either side makes of the octets on the lease connection, in whatever pieces they come. The only
// thing that is taken for a message is the message that comes next.
#include "link/lease_message.h"

#include <algorithm>
#include <vector>

#include "error.h"
#include "input.h"

namespace kemari::fuzz {
namespace {

void run(Input input) {
  const RecordType expected = input.take<uint8_t>() % 2 == 0 ? RecordType::kRenew : RecordType::kAnswer;
  LeaseInbox inbox(expected);
  uint64_t next = 1;
  std::vector<uint8_t> fed;  // of the message in progress
  try {
    while (!input.empty()) {
      std::vector<uint8_t> piece(1 + input.take<uint8_t>() % (2 * kLeaseMessageBytes));
      if (input.take<uint8_t>() % 2 == 0) {
        // A message that is right, whole or in part.
        const std::vector<uint8_t> right = lease_message(expected, next);
        for (size_t i = 0; i < piece.size(); i++) piece[i] = right[(fed.size() + i) % right.size()];
      } else {
        const std::span<const uint8_t> bytes = input.take_bytes(piece.size());
        std::copy(bytes.begin(), bytes.end(), piece.begin());
      }
      for (size_t at = 0; at < piece.size();) {
        const std::span<uint8_t> room = inbox.room();
        KEMARI_ASSERT(!room.empty());
        const size_t count = std::min(room.size(), piece.size() - at);
        std::copy_n(piece.begin() + static_cast<ptrdiff_t>(at), count, room.begin());
        fed.insert(fed.end(), room.begin(), room.begin() + static_cast<ptrdiff_t>(count));
        at += count;
        if (const std::optional<uint64_t> renewal = inbox.take(count)) {
          KEMARI_ASSERT(*renewal == next && fed == lease_message(expected, next));
          next++;
          fed.clear();
        } else {
          KEMARI_ASSERT(fed.size() < kLeaseMessageBytes);
        }
      }
    }
  } catch (const Error& error) {
    KEMARI_ASSERT(error.code().starts_with("KEMARI_LINK_"));
    KEMARI_ASSERT(fed != lease_message(expected, next));
  }
}

}  // namespace
}  // namespace kemari::fuzz

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  kemari::fuzz::run(kemari::fuzz::Input(data, size));
  return 0;
}
