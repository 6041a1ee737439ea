// Echoes numbered lines over TCP and keeps a ledger on the guest's disk: what a client was told is written is on the
// disk. Linked statically, so that any guest runs it.
//
//   ledger PORT FILE
//
//   E NUMBER        is answered  E NUMBER COUNT
//   W NUMBER TEXT   is answered  W NUMBER COUNT  once `W NUMBER TEXT` is FILE's last record and the disk has it
//
// COUNT is how many lines this connection has sent so far: a client whose guest was carried on elsewhere finds out from
// it whether the guest heard one of them twice, or not at all. A record is a line of kRecordBytes, padded with spaces.
// Each connection has a process of its own, which ends with it.

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <string_view>

namespace {

constexpr size_t kRecordBytes = 64;
/// A line that is longer ends the connection.
constexpr size_t kLineLimitBytes = kRecordBytes - 1;

[[noreturn]] void die(const char* what) {
  std::perror(what);
  std::exit(1);
}

void write_whole(int fd, std::string_view bytes, const char* what) {
  while (!bytes.empty()) {
    const ssize_t done = write(fd, bytes.data(), bytes.size());
    if (done < 0) die(what);
    bytes.remove_prefix(static_cast<size_t>(done));
  }
}

/// A ledger that is not written as was said must not be acknowledged: every failure ends the connection.
void append(int ledger, std::string_view line) {
  std::string record(line);
  record.resize(kRecordBytes - 1, ' ');
  record += '\n';
  write_whole(ledger, record, "write the ledger");
  if (fdatasync(ledger) < 0) die("fdatasync the ledger");
}

void answer(int peer, int ledger, std::string_view line, unsigned long count) {
  const bool is_write = line.starts_with("W ");
  if (!is_write && !line.starts_with("E ")) die("a line that begins with neither E nor W");
  if (is_write) append(ledger, line);
  const std::string_view number = line.substr(2, line.find(' ', 2) - 2);
  std::string text(line.substr(0, 2));
  text.append(number).append(" ").append(std::to_string(count)).append("\n");
  write_whole(peer, text, "answer");
}

void serve(int peer, const char* path) {
  const int on = 1;
  if (setsockopt(peer, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on) < 0) die("TCP_NODELAY");
  const int ledger = open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0644);
  if (ledger < 0) die(path);
  std::string unread;
  unsigned long count = 0;
  char chunk[4096];
  for (;;) {
    const ssize_t got = read(peer, chunk, sizeof chunk);
    if (got < 0) die("read");
    if (got == 0) return;
    unread.append(chunk, static_cast<size_t>(got));
    for (size_t end; (end = unread.find('\n')) != std::string::npos; unread.erase(0, end + 1)) {
      if (end > kLineLimitBytes) die("a line that is too long");
      answer(peer, ledger, std::string_view(unread).substr(0, end), ++count);
    }
    if (unread.size() > kLineLimitBytes) die("a line that is too long");
  }
}

int listen_on(const char* port) {
  const int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (listener < 0) die("socket");
  const int on = 1;
  if (setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) < 0) die("SO_REUSEADDR");
  sockaddr_in here{};
  here.sin_family = AF_INET;
  here.sin_port = htons(static_cast<uint16_t>(std::stoi(port)));
  here.sin_addr.s_addr = htonl(INADDR_ANY);
  // SAFETY: bind() takes every kind of address by its common head.
  if (bind(listener, reinterpret_cast<const sockaddr*>(&here), sizeof here) < 0) die("bind");
  if (listen(listener, SOMAXCONN) < 0) die("listen");
  return listener;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 3) {
    std::fprintf(stderr, "usage: ledger PORT FILE\n");
    return 2;
  }
  signal(SIGPIPE, SIG_IGN);
  signal(SIGCHLD, SIG_IGN);  // Nobody waits for those that serve.
  const int listener = listen_on(argv[1]);
  for (;;) {
    const int peer = accept4(listener, nullptr, nullptr, SOCK_CLOEXEC);
    if (peer < 0) continue;
    const pid_t child = fork();
    if (child < 0) die("fork");
    if (child == 0) {
      close(listener);
      serve(peer, argv[2]);
      return 0;
    }
    close(peer);
  }
}
