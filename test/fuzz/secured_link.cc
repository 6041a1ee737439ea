// Fuzz target: the link's TLS, between two sides and a stranger who owns the wire. Whatever the stranger changes,
// drops, repeats or sends back: a side takes only what the other wrote, in its order; sides that differ in key or in
// identity never take each other for the right one; and whatever ends a connection has a name. What the stranger leaves
// alone arrives.
#define OPENSSL_SUPPRESS_DEPRECATED  // RAND_METHOD: an input is to do the same each time
#include <openssl/rand.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <string>
#include <utility>
#include <vector>

#include "error.h"
#include "input.h"
#include "link/connection.h"

namespace kemari::fuzz {
namespace {

constexpr size_t kMaxWireBytes = 48 << 10;   // a direction's, in all: it fits into the socket's buffer, unread
constexpr size_t kMaxLetterBytes = 2 << 10;  // what a side writes at once

uint32_t random_state;

int next_random(unsigned char* into, int size) {
  for (int i = 0; i < size; i++) {
    random_state = random_state * 1664525 + 1013904223;
    into[i] = static_cast<unsigned char>(random_state >> 24);
  }
  return 1;
}

int always_ready() {
  return 1;
}

constexpr RAND_METHOD kSameEachTime{.seed = nullptr,
                                    .bytes = next_random,
                                    .cleanup = nullptr,
                                    .add = nullptr,
                                    .pseudorand = next_random,
                                    .status = always_ready};

struct Cable {
  UniqueFd side;
  UniqueFd stranger;
};

Cable make_cable() {
  int sockets[2];
  KEMARI_ASSERT(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sockets) == 0);
  return {UniqueFd(sockets[0]), UniqueFd(sockets[1])};
}

class Side {
 public:
  Side(Cable cable, PskSecret secret, bool is_client)
      : wire_(std::move(cable.stranger)), connection_(std::move(cable.side), std::move(secret), is_client) {}

  bool is_secure() const noexcept { return is_secure_; }
  const std::string& failure() const noexcept { return failure_; }
  const std::vector<uint8_t>& written() const noexcept { return written_; }
  const std::vector<uint8_t>& taken() const noexcept { return taken_; }

  // As far as it gets with what lies on its wire.
  void go_on() {
    attempt([this] {
      if (!is_secure_) is_secure_ = connection_.secure(LinkClock::now());
      std::array<uint8_t, 4096> bytes;
      while (const std::optional<size_t> count = connection_.read(bytes, LinkClock::now())) {
        taken_.insert(taken_.end(), bytes.begin(), bytes.begin() + *count);
      }
    });
  }

  void write(std::span<const uint8_t> bytes) {
    if (!is_secure_ || !failure_.empty()) return;
    attempt([&] {
      connection_.post(bytes);
      written_.insert(written_.end(), bytes.begin(), bytes.end());
    });
  }

  // What the stranger finds on this side's wire, and what the stranger puts there.
  std::vector<uint8_t> sent() {
    std::vector<uint8_t> bytes(kMaxWireBytes);
    const ssize_t count = recv(wire_.get(), bytes.data(), bytes.size(), MSG_DONTWAIT);
    bytes.resize(count > 0 ? static_cast<size_t>(count) : 0);
    return bytes;
  }
  void deliver(std::span<const uint8_t> bytes) {
    if (bytes.empty() || bytes.size() > kMaxWireBytes - delivered_) return;
    delivered_ += bytes.size();
    static_cast<void>(::send(wire_.get(), bytes.data(), bytes.size(), MSG_DONTWAIT | MSG_NOSIGNAL));
  }
  bool is_full() const noexcept { return delivered_ > kMaxWireBytes / 2; }
  void hang_up() { shutdown(wire_.get(), SHUT_WR); }

 private:
  template <typename Body>
  void attempt(Body&& body) {
    if (!failure_.empty()) return;
    try {
      body();
    } catch (const Error& error) {
      KEMARI_ASSERT(error.code().starts_with("KEMARI_LINK_") && error.code() != "KEMARI_LINK_SOCKET");
      if (error.code() == "KEMARI_LINK_TIMEOUT") {  // the handshake needs more from the other side
        KEMARI_ASSERT(!is_secure_);
      } else {
        failure_ = error.code();
      }
    }
  }

  UniqueFd wire_;
  Connection connection_;
  bool is_secure_ = false;
  std::string failure_;
  std::vector<uint8_t> written_;
  std::vector<uint8_t> taken_;
  size_t delivered_ = 0;
};

// Owns both wires.
class Stranger {
 public:
  Stranger(Side& one, Side& other) : sides_{&one, &other} {}

  bool was_honest() const noexcept { return was_honest_; }

  // Lets both sides send all they want to, unchanged.
  void pass_on() {
    for (int i = 0; i < 6; i++) {
      for (Side* side : sides_) side->go_on();
      carry(0);
      carry(1);
    }
  }

  void act(Input& input) {
    const uint8_t operation = input.byte();
    const size_t from = operation & 1;
    Side& target = *sides_[1 - from];
    for (Side* side : sides_) side->go_on();
    std::vector<uint8_t> bytes = sides_[from]->sent();
    const auto place = [&] { return bytes.empty() ? 0 : input.word() % bytes.size(); };
    switch (operation >> 1 & 15) {
      case 0: {
        const auto letter = input.take_bytes(std::min<size_t>(input.word(), kMaxLetterBytes));
        sides_[from]->write(letter);
        break;
      }
      case 1:
        if (!bytes.empty()) bytes[place()] ^= static_cast<uint8_t>(1 + input.byte() % 255);
        was_honest_ &= bytes.empty();
        break;
      case 2: {  // the rest is lost
        was_honest_ &= bytes.empty();
        bytes.resize(place());
        break;
      }
      case 3: {  // a piece is
        was_honest_ &= bytes.empty();
        const size_t start = place();
        bytes.erase(bytes.begin() + start, bytes.begin() + std::min<size_t>(bytes.size(), start + input.byte()));
        break;
      }
      case 4: {
        was_honest_ = false;
        const auto more = input.take_bytes(input.byte());
        bytes.insert(bytes.begin() + place(), more.begin(), more.end());
        break;
      }
      case 5:  // once more
        was_honest_ &= last_[from].empty();
        target.deliver(last_[from]);
        break;
      case 6:  // back to who sent it
        was_honest_ &= bytes.empty();
        sides_[from]->deliver(bytes);
        break;
      case 7:
        was_honest_ = false;
        target.deliver(bytes);
        return target.hang_up();
      default:
        break;
    }
    if (!bytes.empty()) last_[from] = bytes;
    target.deliver(bytes);
  }

 private:
  void carry(size_t from) { sides_[1 - from]->deliver(sides_[from]->sent()); }

  std::array<Side*, 2> sides_;
  std::array<std::vector<uint8_t>, 2> last_;
  bool was_honest_ = true;
};

bool starts_with(const std::vector<uint8_t>& whole, const std::vector<uint8_t>& start) {
  return start.size() <= whole.size() && std::equal(start.begin(), start.end(), whole.begin());
}

void run(Input input) {
  KEMARI_ASSERT(RAND_set_rand_method(&kSameEachTime) == 1);
  random_state = 1;
  const uint8_t shape = input.byte();
  PskSecret secret{{1, 2, 3}, "sync 0123456789abcdef"};
  PskSecret theirs = secret;
  if ((shape & 0xc0) == 0xc0) theirs.key[input.byte() % kLinkKeyBytes] ^= static_cast<uint8_t>(1 + input.byte() % 255);
  if ((shape & 0x30) == 0x30) theirs.identity.resize(1 + input.byte() % 32, 'x');
  const bool is_same = theirs.key == secret.key && theirs.identity == secret.identity;
  Side standby(make_cable(), secret, false);
  Side primary(make_cable(), theirs, true);
  Stranger stranger(primary, standby);
  if ((shape & 1) != 0) stranger.pass_on();  // the attack begins after the handshake
  while (!input.empty() && !primary.is_full() && !standby.is_full()) stranger.act(input);
  stranger.pass_on();

  KEMARI_ASSERT(starts_with(primary.written(), standby.taken()));
  KEMARI_ASSERT(starts_with(standby.written(), primary.taken()));
  if (!is_same) KEMARI_ASSERT(!standby.is_secure() && standby.taken().empty() && primary.taken().empty());
  if (!stranger.was_honest()) return;
  if (is_same) {
    KEMARI_ASSERT(primary.is_secure() && standby.is_secure());
    KEMARI_ASSERT(primary.failure().empty() && standby.failure().empty());
    KEMARI_ASSERT(standby.taken() == primary.written() && primary.taken() == standby.written());
  } else {
    KEMARI_ASSERT(standby.failure() == "KEMARI_LINK_KEY" && primary.failure() == "KEMARI_LINK_KEY");
  }
}

}  // namespace
}  // namespace kemari::fuzz

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  kemari::fuzz::run(kemari::fuzz::Input(data, size));
  return 0;
}
