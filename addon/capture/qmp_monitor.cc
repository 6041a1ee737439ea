#include "capture/qmp_monitor.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <cstdlib>
#include <cstring>
#include <utility>

#include "capture/json_member.h"
#include "clock.h"
#include "error.h"

namespace kemari {

namespace {

constexpr int64_t kAnswerTimeoutNs = 10'000'000'000;
constexpr size_t kMaxLineBytes = 1 << 20;
constexpr std::string_view kFdsetFolder = "/dev/fdset/";
// Ends whatever QEMU's lexer is in the middle of (QEMU's docs/interop/qmp-spec, "Resynchronization").
constexpr char kReset = '\xff';

}  // namespace

QmpMonitor::QmpMonitor(UniqueFd socket) : socket_(std::move(socket)) {
  const int flags = fcntl(socket_.get(), F_GETFL);
  if (flags < 0 || fcntl(socket_.get(), F_SETFL, flags | O_NONBLOCK) != 0) {
    fail_errno("KEMARI_ARGUMENT", "fcntl", "monitorFd is no descriptor");
  }
}

void QmpMonitor::hung_up() const {
  fail("KEMARI_CAPTURE_GONE", "QEMU has closed its monitor: it has ended, or is ending");
}

void QmpMonitor::negotiate() {
  // The greeting is no answer to anything, and next() skips it.
  execute("qmp_capabilities", "{}");
}

std::string QmpMonitor::add_descriptor(int fd) {
  const std::string answer = execute("add-fd", R"({"opaque":"kemari: device state"})", fd);
  const std::string_view set = json_member(answer, "fdset-id");
  if (set.empty()) fail("KEMARI_CAPTURE_REFUSED", "QEMU answered add-fd with " + answer + ", expected an fdset-id");
  return std::string(kFdsetFolder) + std::string(set);
}

void QmpMonitor::remove_descriptor(const std::string& path) {
  execute("remove-fd", R"({"fdset-id":)" + path.substr(kFdsetFolder.size()) + "}");
}

std::string QmpMonitor::command(const std::string& name, const std::string& arguments) {
  return R"({"execute":")" + name + R"(","id":)" + std::to_string(++last_id_) + R"(,"arguments":)" + arguments + "}";
}

std::string QmpMonitor::execute(const std::string& name, const std::string& arguments, int passed_fd) {
  KEMARI_ASSERT(primed_ == 0);
  send(command(name, arguments), passed_fd);
  const int64_t deadline = monotonic_ns() + kAnswerTimeoutNs;
  while (const std::optional<Message> message = next_before(deadline)) {
    if (message->id != last_id_) continue;
    if (message->kind == Message::Kind::kReturn) return message->text;
    fail("KEMARI_CAPTURE_REFUSED", "QEMU refused " + name + ": " + message->text);
  }
  fail("KEMARI_CAPTURE_REFUSED", "QEMU did not answer " + name + " within 10 s");
}

void QmpMonitor::prime(const std::string& name, const std::string& arguments) {
  KEMARI_ASSERT(primed_ == 0);
  std::string bytes = command(name, arguments);
  KEMARI_ASSERT(bytes.back() == '}');
  bytes.pop_back();
  send(bytes);
  primed_ = last_id_;
}

void QmpMonitor::trigger() {
  KEMARI_ASSERT(primed_ != 0);
  primed_ = 0;
  send("}");
}

void QmpMonitor::cancel() {
  if (primed_ == 0) return;
  primed_ = 0;
  // QEMU answers with an error that names no command.
  send(std::string(1, kReset) + "\n");
}

void QmpMonitor::send(const std::string& bytes, int passed_fd) {
  size_t sent = 0;
  while (sent < bytes.size()) {
    iovec piece{const_cast<char*>(bytes.data()) + sent, bytes.size() - sent};
    alignas(cmsghdr) std::array<char, CMSG_SPACE(sizeof(int))> control{};
    msghdr message{};
    message.msg_iov = &piece;
    message.msg_iovlen = 1;
    if (passed_fd >= 0 && sent == 0) {
      message.msg_control = control.data();
      message.msg_controllen = control.size();
      cmsghdr* header = CMSG_FIRSTHDR(&message);
      header->cmsg_level = SOL_SOCKET;
      header->cmsg_type = SCM_RIGHTS;
      header->cmsg_len = CMSG_LEN(sizeof(int));
      std::memcpy(CMSG_DATA(header), &passed_fd, sizeof passed_fd);
    }
    const ssize_t length = sendmsg(socket_.get(), &message, MSG_NOSIGNAL);
    if (length >= 0) {
      sent += static_cast<size_t>(length);
    } else if (errno == EAGAIN) {
      pollfd entry{socket_.get(), POLLOUT, 0};
      poll(&entry, 1, -1);
    } else if (errno != EINTR) {
      hung_up();
    }
  }
}

// False when nothing has come.
bool QmpMonitor::read_some() {
  std::array<char, 4096> bytes;
  while (true) {
    const ssize_t length = recv(socket_.get(), bytes.data(), bytes.size(), 0);
    if (length > 0) {
      received_.append(bytes.data(), static_cast<size_t>(length));
      if (received_.size() > kMaxLineBytes) fail("KEMARI_CAPTURE_REFUSED", "QEMU sends what is no QMP");
      return true;
    }
    if (length < 0 && errno == EAGAIN) return false;
    if (length < 0 && errno == EINTR) continue;
    hung_up();
  }
}

std::optional<QmpMonitor::Message> QmpMonitor::next() {
  while (true) {
    const size_t end = received_.find('\n');
    if (end == std::string::npos) {
      if (!read_some()) return std::nullopt;
      continue;
    }
    const std::string line = received_.substr(0, end);
    received_.erase(0, end + 1);
    const uint64_t id = std::strtoull(std::string(json_member(line, "id")).c_str(), nullptr, 10);
    if (const std::string_view event = json_member(line, "event"); !event.empty()) {
      return Message{Message::Kind::kEvent, std::string(json_text(event)), 0};
    }
    if (const std::string_view value = json_member(line, "return"); !value.empty()) {
      return Message{Message::Kind::kReturn, std::string(value), id};
    }
    if (const std::string_view error = json_member(line, "error"); !error.empty()) {
      return Message{Message::Kind::kError, std::string(json_text(json_member(error, "desc"))), id};
    }
  }
}

std::optional<QmpMonitor::Message> QmpMonitor::next_before(int64_t deadline_ns) {
  while (true) {
    if (std::optional<Message> message = next()) return message;
    if (!wait_readable({{socket_.get()}}, deadline_ns)) return std::nullopt;
  }
}

}  // namespace kemari
