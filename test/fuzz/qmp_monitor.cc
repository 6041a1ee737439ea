// Fuzz target: what the capture's monitor makes of what QEMU says, in whatever pieces it comes. It ends with an answer
// or an error that has a name; it never waits for more once QEMU has hung up, and never reads past a line.
#include "capture/qmp_monitor.h"

#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <string>
#include <string_view>

#include "capture/json_member.h"
#include "error.h"
#include "input.h"

namespace kemari::fuzz {
namespace {

constexpr size_t kMaxBytes = 16 << 10;  // fits into the socket's buffer

// Pieces of QMP, so that the fuzzer need not find the words.
constexpr std::string_view kPieces[] = {
    R"({"QMP": {"version": {"qemu": {"micro": 0, "minor": 2, "major": 7}}, "capabilities": ["oob"]}})",
    R"({"return": {}, "id": 1})",
    R"({"return": {"fdset-id": 3, "fd": 12}, "id": 2})",
    R"({"id": 1, "error": {"class": "GenericError", "desc": "no \"such\" thing"}})",
    R"({"timestamp": {"seconds": 1, "microseconds": 2}, "event": "STOP"})",
    R"({"error": {"class": "GenericError", "desc": "JSON parse error"}})",
    R"("id": 1)",
    R"("return")",
    R"("desc": ")",
    "\r\n",
    "\n",
    "{",
    "}",
    "\\",
    "\"",
    ",",
};

std::string said(Input& input) {
  std::string text;
  while (!input.empty() && text.size() < kMaxBytes) {
    const uint8_t operation = input.byte();
    if (operation < std::size(kPieces) * 8) {
      text += kPieces[operation / 8];
      continue;
    }
    const auto bytes = input.take_bytes(operation & 31);
    text.append(bytes.begin(), bytes.end());
  }
  text.resize(std::min(text.size(), kMaxBytes));
  return text;
}

// What json_member() gives lies within what it was asked about, and means the same when asked again of a copy that ends
// where the text ends (AddressSanitizer sees one byte too far).
void check_member(std::string_view text) {
  const std::string copy(text);
  for (const std::string_view key : {"id", "return", "error", "desc", "event"}) {
    const std::string_view value = json_member(copy, key);
    if (value.empty()) continue;
    KEMARI_ASSERT(value.data() >= copy.data() && value.data() + value.size() <= copy.data() + copy.size());
    const std::string_view bare = json_text(value);
    KEMARI_ASSERT(bare.size() == value.size() || bare.size() + 2 == value.size());
  }
}

void run(Input input) {
  const uint8_t shape = input.byte();
  const std::string text = said(input);
  check_member(text);
  int sockets[2];
  KEMARI_ASSERT(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sockets) == 0);
  const UniqueFd theirs(sockets[1]);
  QmpMonitor monitor{UniqueFd(sockets[0])};
  if (!text.empty()) {
    KEMARI_ASSERT(send(theirs.get(), text.data(), text.size(), MSG_DONTWAIT) == static_cast<ssize_t>(text.size()));
  }
  shutdown(theirs.get(), SHUT_WR);
  try {
    if ((shape & 1) != 0) monitor.negotiate();
    if ((shape & 2) != 0) {
      const std::string path = monitor.add_descriptor(theirs.get());
      KEMARI_ASSERT(path.starts_with("/dev/fdset/"));
      if ((shape & 4) != 0) monitor.remove_descriptor(path);
    }
    if ((shape & 8) != 0) {
      monitor.prime("stop", "{}");
      if ((shape & 16) != 0) {
        monitor.trigger();
      } else {
        monitor.cancel();
      }
    }
    size_t messages = 0;
    while (const std::optional<QmpMonitor::Message> message = monitor.next()) {
      KEMARI_ASSERT(++messages <= text.size() && message->text.size() <= text.size());
    }
    KEMARI_ASSERT(false);  // QEMU hung up: that is said
  } catch (const Error& error) {
    KEMARI_ASSERT(error.code() == "KEMARI_CAPTURE_GONE" || error.code() == "KEMARI_CAPTURE_REFUSED");
  }
}

}  // namespace
}  // namespace kemari::fuzz

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  kemari::fuzz::run(kemari::fuzz::Input(data, size));
  return 0;
}
