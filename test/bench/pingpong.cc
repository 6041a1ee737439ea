// One byte over TCP to and fro: what a request and its answer cost when nothing else happens (netperf calls it TCP_RR).
// Linked statically, so that the same program runs on the host and in any guest.
//
//   pingpong serve PORT                 echoes every byte of every connection, one connection after the other
//   pingpong ping ADDRESS PORT SECONDS  prints how many round trips it made, and the seconds

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <sys/socket.h>
#include <unistd.h>

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>

namespace {

[[noreturn]] void die(const char* what) {
  std::perror(what);
  std::exit(1);
}

int tcp_socket() {
  const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (fd < 0) die("socket");
  return fd;
}

void send_at_once(int fd) {
  const int on = 1;
  if (setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on) < 0) die("TCP_NODELAY");
}

sockaddr_in endpoint(const char* address, const char* port) {
  sockaddr_in result{};
  result.sin_family = AF_INET;
  result.sin_port = htons(static_cast<uint16_t>(std::stoi(port)));
  if (inet_pton(AF_INET, address, &result.sin_addr) != 1) die(address);
  return result;
}

void serve(const char* port) {
  const int listener = tcp_socket();
  const int on = 1;
  if (setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) < 0) die("SO_REUSEADDR");
  const sockaddr_in here = endpoint("0.0.0.0", port);
  // SAFETY: bind() takes every kind of address by its common head.
  if (bind(listener, reinterpret_cast<const sockaddr*>(&here), sizeof here) < 0) die("bind");
  if (listen(listener, 1) < 0) die("listen");
  for (;;) {
    const int peer = accept4(listener, nullptr, nullptr, SOCK_CLOEXEC);
    if (peer < 0) continue;
    send_at_once(peer);
    char byte;
    while (read(peer, &byte, 1) == 1 && write(peer, &byte, 1) == 1) {
    }
    close(peer);
  }
}

void ping(const char* address, const char* port, double seconds) {
  const int fd = tcp_socket();
  const sockaddr_in there = endpoint(address, port);
  // SAFETY: connect() takes every kind of address by its common head.
  if (connect(fd, reinterpret_cast<const sockaddr*>(&there), sizeof there) < 0) die("connect");
  send_at_once(fd);
  using Clock = std::chrono::steady_clock;
  const auto start = Clock::now();
  const auto end = start + std::chrono::duration<double>(seconds);
  auto now = start;
  unsigned long round_trips = 0;
  char byte = 'k';
  while (now < end) {
    if (write(fd, &byte, 1) != 1 || read(fd, &byte, 1) != 1) die("round trip");
    ++round_trips;
    now = Clock::now();
  }
  std::printf("%lu %.6f\n", round_trips, std::chrono::duration<double>(now - start).count());
}

}  // namespace

int main(int argc, char** argv) {
  signal(SIGPIPE, SIG_IGN);
  if (argc == 3 && std::strcmp(argv[1], "serve") == 0) {
    serve(argv[2]);
  } else if (argc == 5 && std::strcmp(argv[1], "ping") == 0) {
    ping(argv[2], argv[3], std::stod(argv[4]));
  } else {
    std::fprintf(stderr, "usage: pingpong serve PORT | ping ADDRESS PORT SECONDS\n");
    return 2;
  }
}
