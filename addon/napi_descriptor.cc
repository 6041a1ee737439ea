#include "napi_descriptor.h"

#include <fcntl.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include <array>
#include <cstring>

#include "error.h"
#include "napi_error.h"
#include "unique_fd.h"

namespace kemari {
namespace {

UniqueFd duplicate(int fd) {
  UniqueFd copy(::fcntl(fd, F_DUPFD_CLOEXEC, 0));
  if (!copy.valid()) fail_errno("KEMARI_DESCRIPTOR", "fcntl", "cannot copy a file descriptor");
  return copy;
}

// A message that carries one descriptor. One byte goes along: a stream delivers no descriptor without data.
struct DescriptorMessage {
  DescriptorMessage() {
    part = {&byte, 1};
    header.msg_iov = &part;
    header.msg_iovlen = 1;
    header.msg_control = control.data();
    header.msg_controllen = control.size();
  }
  char byte = 0;
  iovec part{};
  alignas(cmsghdr) std::array<char, CMSG_SPACE(sizeof(int))> control{};
  msghdr header{};
};

void send_descriptor(int socket, int fd) {
  DescriptorMessage message;
  cmsghdr* const control = CMSG_FIRSTHDR(&message.header);
  control->cmsg_level = SOL_SOCKET;
  control->cmsg_type = SCM_RIGHTS;
  control->cmsg_len = CMSG_LEN(sizeof fd);
  std::memcpy(CMSG_DATA(control), &fd, sizeof fd);
  ssize_t sent;
  do sent = ::sendmsg(socket, &message.header, MSG_NOSIGNAL | MSG_DONTWAIT);
  while (sent < 0 && errno == EINTR);
  if (sent < 0) fail_errno("KEMARI_DESCRIPTOR", "sendmsg", "cannot hand a file descriptor to another process");
}

// Invalid when none is waiting or the other side has gone.
UniqueFd receive_descriptor(int socket) {
  DescriptorMessage message;
  ssize_t got;
  do got = ::recvmsg(socket, &message.header, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
  while (got < 0 && errno == EINTR);
  if (got == 0 || (got < 0 && (errno == EAGAIN || errno == EWOULDBLOCK || errno == ECONNRESET))) return UniqueFd();
  if (got < 0) fail_errno("KEMARI_DESCRIPTOR", "recvmsg", "cannot take a file descriptor from another process");
  const cmsghdr* const control = CMSG_FIRSTHDR(&message.header);
  if (control == nullptr || control->cmsg_level != SOL_SOCKET || control->cmsg_type != SCM_RIGHTS ||
      control->cmsg_len != CMSG_LEN(sizeof(int))) {
    fail("KEMARI_DESCRIPTOR", "a message from another process of ours carries no file descriptor");
  }
  int fd = -1;
  std::memcpy(&fd, CMSG_DATA(control), sizeof fd);
  return UniqueFd(fd);
}

int number(const Napi::CallbackInfo& info, size_t index) {
  if (!info[index].IsNumber()) fail("KEMARI_ARGUMENT", "a file descriptor is expected");
  return info[index].As<Napi::Number>().Int32Value();
}

Napi::Value duplicate_call(const Napi::CallbackInfo& info) {
  return guarded(info.Env(),
                 [&]() -> Napi::Value { return Napi::Number::New(info.Env(), duplicate(number(info, 0)).release()); });
}

Napi::Value send_call(const Napi::CallbackInfo& info) {
  return guarded(info.Env(), [&]() -> Napi::Value {
    send_descriptor(number(info, 0), number(info, 1));
    return info.Env().Undefined();
  });
}

Napi::Value receive_call(const Napi::CallbackInfo& info) {
  return guarded(info.Env(), [&]() -> Napi::Value {
    UniqueFd fd = receive_descriptor(number(info, 0));
    return Napi::Number::New(info.Env(), fd.valid() ? fd.release() : -1);
  });
}

}  // namespace

void define_descriptor(Napi::Env env, Napi::Object exports) {
  exports.Set("duplicateDescriptor", Napi::Function::New(env, duplicate_call, "duplicateDescriptor"));
  exports.Set("sendDescriptor", Napi::Function::New(env, send_call, "sendDescriptor"));
  exports.Set("receiveDescriptor", Napi::Function::New(env, receive_call, "receiveDescriptor"));
}

}  // namespace kemari
