#include "capture/state_file.h"

#include <fcntl.h>
#include <linux/fuse.h>
#include <poll.h>
#include <pthread.h>
#include <sys/eventfd.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#include <array>
#include <cstring>
#include <string>
#include <utility>

#include "error.h"

namespace kemari {

namespace {

constexpr uint32_t kMaxWriteBytes = 128 << 10;  // QEMU writes 32 KiB at once
constexpr size_t kBufferBytes = kMaxWriteBytes + 4096;
constexpr int kLifeCheckMs = 50;

[[noreturn]] void refuse(const char* system_call) {
  fail_errno("KEMARI_CAPTURE_STATE_FILE", system_call,
             "cannot make the file for the device state; kemari needs FUSE (/dev/fuse, module fuse) and CAP_SYS_ADMIN");
}

void configure(int context, const char* key, const std::string& value) {
  if (fsconfig(context, FSCONFIG_SET_STRING, key, value.c_str(), 0) != 0) refuse("fsconfig");
}

template <typename Body>
const Body& body_of(const std::vector<uint8_t>& request, size_t length) {
  KEMARI_ASSERT(length >= sizeof(fuse_in_header) + sizeof(Body));
  // SAFETY: the kernel's message, aligned to 8 bytes as its structures are.
  return *reinterpret_cast<const Body*>(request.data() + sizeof(fuse_in_header));
}

void add_one(const UniqueFd& event) {
  const uint64_t one = 1;
  if (write(event.get(), &one, sizeof one) < 0) KEMARI_ASSERT(errno == EAGAIN);
}

}  // namespace

StateFile::StateFile(pid_t writer)
    : writer_(writer),
      writer_life_(writer),
      device_(open("/dev/fuse", O_RDWR | O_CLOEXEC | O_NONBLOCK)),
      progress_event_(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)),
      stop_event_(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) {
  if (!device_.valid()) refuse("open");
  if (!progress_event_.valid() || !stop_event_.valid()) refuse("eventfd");
  const UniqueFd root = mount();
  thread_ = std::thread([this] { run(); });
  // Asks our thread.
  file_.reset(open(("/proc/self/fd/" + std::to_string(root.get())).c_str(), O_WRONLY | O_CLOEXEC));
  if (file_.valid()) return;
  const int error = errno;
  end_thread();
  errno = error;
  refuse("open");
}

StateFile::~StateFile() {
  abandon();
  close_ours();
  end_thread();
}

void StateFile::end_thread() {
  add_one(stop_event_);
  thread_.join();
}

void StateFile::close_ours() {
  file_.reset();
}

// The root of the file system is the file, and its mount is attached nowhere: it goes with the last descriptor.
UniqueFd StateFile::mount() {
  const UniqueFd context(fsopen("fuse", FSOPEN_CLOEXEC));
  if (!context.valid()) refuse("fsopen");
  configure(context.get(), "source", "kemari");
  configure(context.get(), "fd", std::to_string(device_.get()));
  configure(context.get(), "rootmode", "100600");
  configure(context.get(), "user_id", "0");
  configure(context.get(), "group_id", "0");
  // The writer is another user.
  if (fsconfig(context.get(), FSCONFIG_SET_FLAG, "allow_other", nullptr, 0) != 0) refuse("fsconfig");
  if (fsconfig(context.get(), FSCONFIG_CMD_CREATE, nullptr, nullptr, 0) != 0) refuse("fsconfig");
  UniqueFd root(fsmount(context.get(), FSMOUNT_CLOEXEC, MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC));
  if (!root.valid()) refuse("fsmount");
  return root;
}

void StateFile::expect(std::vector<uint8_t>& state) {
  const std::lock_guard lock(mutex_);
  KEMARI_ASSERT(state_ == nullptr && held_ == 0);
  state_ = &state;
  may_close_ = false;
  progress_ = Progress::kNothing;
}

StateFile::Progress StateFile::progress() const {
  const std::lock_guard lock(mutex_);
  return progress_;
}

void StateFile::drain_progress() {
  uint64_t count;
  if (read(progress_event_.get(), &count, sizeof count) < 0) KEMARI_ASSERT(errno == EAGAIN);
}

void StateFile::release() {
  const std::lock_guard lock(mutex_);
  may_close_ = true;
  let_go();
}

void StateFile::abandon() {
  const std::lock_guard lock(mutex_);
  state_ = nullptr;
  may_close_ = true;
  let_go();
}

void StateFile::let_go() {
  if (held_ == 0) return;
  state_ = nullptr;
  answer(std::exchange(held_, 0), 0);
}

void StateFile::advance(Progress progress) {
  if (progress_ == progress) return;
  progress_ = progress;
  add_one(progress_event_);
}

void StateFile::run() {
  pthread_setname_np(pthread_self(), "kemari-state");
  while (serve()) {
  }
}

// Answers one request; false when the file is at its end.
bool StateFile::serve() {
  thread_local std::vector<uint8_t> request(kBufferBytes);
  const ssize_t length = read(device_.get(), request.data(), request.size());
  if (length > 0) {
    handle(request, static_cast<size_t>(length));
    return true;
  }
  // ENOENT: the request was given up before we saw it. Anything else (ENODEV): unmounted.
  if (length < 0 && errno != EAGAIN && errno != EINTR && errno != ENOENT) return false;
  std::array<pollfd, 2> fds{pollfd{device_.get(), POLLIN, 0}, pollfd{stop_event_.get(), POLLIN, 0}};
  const int ready = poll(fds.data(), fds.size(), kLifeCheckMs);
  if (ready == 0) check_held();
  return fds[1].revents == 0;
}

void StateFile::handle(const std::vector<uint8_t>& request, size_t length) {
  KEMARI_ASSERT(length >= sizeof(fuse_in_header));
  // SAFETY: as in body_of().
  const auto& header = *reinterpret_cast<const fuse_in_header*>(request.data());
  const std::lock_guard lock(mutex_);
  switch (header.opcode) {
    case FUSE_INIT: {
      fuse_init_out out{};
      out.major = FUSE_KERNEL_VERSION;
      out.minor = FUSE_KERNEL_MINOR_VERSION;
      out.flags = FUSE_BIG_WRITES;
      out.max_write = kMaxWriteBytes;
      return answer(header.unique, 0, &out, sizeof out);
    }
    case FUSE_OPEN: {
      fuse_open_out out{};
      out.open_flags = FOPEN_DIRECT_IO;
      return answer(header.unique, 0, &out, sizeof out);
    }
    case FUSE_SETATTR:  // truncated, as QEMU does before it writes
      if (state_ != nullptr) advance(Progress::kBegun);
      return answer_attributes(header.unique);
    case FUSE_GETATTR:
      return answer_attributes(header.unique);
    case FUSE_WRITE: {
      const auto& in = body_of<fuse_write_in>(request, length);
      const uint8_t* bytes = request.data() + sizeof(fuse_in_header) + sizeof(fuse_write_in);
      KEMARI_ASSERT(in.size <= length - sizeof(fuse_in_header) - sizeof(fuse_write_in));
      if (state_ != nullptr) {
        if (in.size > kMaxStateBytes - state_->size()) {
          advance(Progress::kTooLarge);
          return answer(header.unique, EFBIG);
        }
        // In the order of the writes: the writer's offset goes on from one state to the next.
        state_->insert(state_->end(), bytes, bytes + in.size);
        advance(Progress::kBegun);
      }
      fuse_write_out out{};
      out.size = in.size;
      return answer(header.unique, 0, &out, sizeof out);
    }
    case FUSE_FLUSH:
      return handle_flush(header.unique, header.pid);
    case FUSE_RELEASE:
      return answer(header.unique, 0);
    case FUSE_FORGET:
    case FUSE_BATCH_FORGET:
    case FUSE_INTERRUPT:  // check_held() finds out whether the writer dies
      return;
    default:
      return answer(header.unique, ENOSYS);
  }
}

// A close(). The kernel also closes what a dying process leaves: a state may have been cut off by that.
void StateFile::handle_flush(uint64_t unique, uint32_t closer) {
  const bool is_end = state_ != nullptr && progress_ == Progress::kBegun && closer == static_cast<uint32_t>(writer_);
  if (!is_end) return answer(unique, 0);
  if (!writer_life_.is_closing()) {
    advance(Progress::kWriterDied);
    return answer(unique, 0);
  }
  held_ = unique;
  if (may_close_) let_go();  // the guest first
  advance(Progress::kWhole);
}

// A process that was killed while its close() waits for us cannot go before we answer.
void StateFile::check_held() {
  const std::lock_guard lock(mutex_);
  if (held_ == 0 || !writer_life_.is_dying()) return;
  progress_ = Progress::kNothing;
  advance(Progress::kWriterDied);
  let_go();
}

void StateFile::answer_attributes(uint64_t unique) {
  fuse_attr_out out{};
  out.attr_valid = UINT32_MAX;
  out.attr.ino = FUSE_ROOT_ID;
  out.attr.mode = S_IFREG | S_IRUSR | S_IWUSR;
  out.attr.nlink = 1;
  answer(unique, 0, &out, sizeof out);
}

void StateFile::answer(uint64_t unique, int error, const void* body, size_t length) {
  fuse_out_header header{};
  header.len = static_cast<uint32_t>(sizeof header + length);
  header.error = -error;
  header.unique = unique;
  std::array<iovec, 2> pieces{iovec{&header, sizeof header}, iovec{const_cast<void*>(body), length}};
  // ENOENT: who asked was killed meanwhile.
  if (writev(device_.get(), pieces.data(), length == 0 ? 1 : 2) < 0) KEMARI_ASSERT(errno == ENOENT || errno == ENODEV);
}

}  // namespace kemari
