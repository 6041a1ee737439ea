#include "capture/qemu_capture.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <mutex>
#include <utility>

#include "clock.h"
#include "error.h"
#include "evidence/evidence.h"
#include "fault/fault.h"

namespace kemari {

namespace {

constexpr int64_t kQemuTimeoutNs = 10'000'000'000;
// An epoch with more pages than this, some 0.4 ms of encoding, is handed on after the guest runs again.
constexpr uint64_t kGuestFirstPages = 256;
// QEMU's migration/savevm.h: what a state begins and ends with.
constexpr std::array<uint8_t, 4> kStateMagic{'Q', 'E', 'V', 'M'};
constexpr uint8_t kStateEnd = 0;

}  // namespace

QemuCapture::QemuCapture(Domain domain)
    : Capture(std::move(domain.outputs)),
      domain_(std::move(domain)),
      ram_(RamFile::map(domain_.ram_file.get())),
      monitor_(std::move(domain_.monitor)) {}

QemuCapture::~QemuCapture() {
  detach();
}

void QemuCapture::require(bool condition, const char* what) const {
  if (!condition) fail("KEMARI_CAPTURE_STATE", what);
  if (broken_) throw *broken_;
}

void QemuCapture::attach() {
  require(!tracker_, "the capture is attached already");
  if (!negotiated_) monitor_.negotiate();
  negotiated_ = true;
  for (const auto& device : outputs().devices) device->set_suspend_on_stop(true);
  try {
    state_file_ = std::make_unique<StateFile>(domain_.process);
    state_path_ = monitor_.add_descriptor(state_file_->fd());
    state_file_->close_ours();
    tracker_ = std::make_unique<PageTracker>(domain_.process, domain_.ram_file.get());
    load_.emplace(domain_.process, domain_.vcpu_threads);
    prime();
  } catch (...) {
    detach();
    throw;
  }
}

void QemuCapture::detach() noexcept {
  if (held_) state_file_->release();
  held_ = false;
  try {
    if (state_file_ && !broken_) {
      if (!command_.answered) wait_for_answer();
      monitor_.cancel();
      if (!state_path_.empty()) monitor_.remove_descriptor(state_path_);
    }
  } catch (const Error&) {
    // QEMU is gone, or does not answer: nothing more can be taken back from it.
  }
  command_ = {.answered = true};
  tracker_.reset();
  load_.reset();
  state_file_.reset();
  state_path_.clear();
  counting_ = false;
  owed().clear();
  for (const auto& device : outputs().devices) device->set_suspend_on_stop(false);
  forget_abort();
}

// For a guest that is stopped already it neither stops nor starts anything; without `live` it would let go of images.
void QemuCapture::prime() {
  monitor_.prime("xen-save-devices-state", R"({"filename":")" + state_path_ + R"(","live":false})");
  command_ = {.answered = true};
}

void QemuCapture::take_messages() {
  while (const auto message = monitor_.next()) handle(*message);
}

// --- pages ----------------------------------------------------------------------------------------------------------

// Adds to owed() what QEMU wrote since the last time.
void QemuCapture::collect_theirs() {
  tracker_->collect(found_);
  if (owed().empty()) {
    std::swap(owed(), found_);
  } else {
    add_pages(owed(), found_);
  }
}

// Adds to owed() what kemari wrote. After collect_theirs(): the first time, what is owed is all that is no hole.
void QemuCapture::collect_ours() {
  PageRanges ours;
  {
    // A mark is only sure to be seen, data included, when no ring thread is between landing data and marking it.
    std::vector<std::unique_lock<std::mutex>> parked;
    for (const auto& device : outputs().devices) parked.push_back(device->park());
    ours = ram_->dirty().take();
  }
  if (std::exchange(counting_, true)) return add_pages(owed(), ours);
  owed().clear();
  append_data(owed(), domain_.ram_file.get(), 0, ram_->size_bytes() / kPageBytes);
}

uint64_t QemuCapture::count_dirty() {
  require(tracker_ != nullptr, "the capture is not attached");
  if (counting_) return tracker_->count() + ram_->dirty().count() + page_count(owed());
  PageRanges all;
  append_data(all, domain_.ram_file.get(), 0, ram_->size_bytes() / kPageBytes);
  return page_count(all);
}

void QemuCapture::copy(Checkpoint& checkpoint) {
  uint8_t* to = checkpoint.pages.append(page_count(checkpoint.ranges));
  const PageRange* const middle = checkpoint.ranges.data() + checkpoint.ranges.size() / 2;
  for (const PageRange& range : checkpoint.ranges) {
    if (&range == middle && checkpoint.epoch > 0) fault_point("capture.half-copied");
    const uint64_t bytes = range.count * kPageBytes;
    std::memcpy(to, ram_->data() + range.first * kPageBytes, bytes);
    to += bytes;
  }
}

void QemuCapture::collect() {
  collect_theirs();
  collect_ours();
}

void QemuCapture::require_round() const {
  require(tracker_ != nullptr, "the capture is not attached");
  require(!held_, "the guest is held by a capture");
}

// --- the paused window ----------------------------------------------------------------------------------------------

void QemuCapture::handle(const QmpMonitor::Message& message) {
  if (message.kind == QmpMonitor::Message::Kind::kEvent) {
    if (message.text == "STOP") command_.stopped = true;
    if (message.text == "RESUME") command_.resumed = true;
    return;
  }
  if (message.id != monitor_.last_command() || command_.answered) return;
  command_.answered = true;
  if (message.kind == QmpMonitor::Message::Kind::kError) command_.error = message.text;
}

// Waits for QEMU and its state file.
template <typename Reached>
void QemuCapture::wait_until(Reached&& reached, const char* what) {
  const int64_t deadline = monotonic_ns() + kQemuTimeoutNs;
  while (true) {
    state_file_->drain_progress();
    take_messages();
    const StateFile::Progress progress = state_file_->progress();
    if (progress == StateFile::Progress::kWriterDied) fail("KEMARI_CAPTURE_GONE", "QEMU died during a capture");
    if (progress == StateFile::Progress::kTooLarge) {
      fail("KEMARI_CAPTURE_REFUSED", "QEMU's state is larger than 64 MiB, which no machine of kemari's has");
    }
    if (reached(progress)) return;
    if (command_.answered) {
      fail("KEMARI_CAPTURE_REFUSED", std::string("QEMU did not ") + what + ": " + command_.error);
    }
    if (!wait_readable(std::array{monitor_.fd(), state_file_->progress_fd()}, deadline)) {
      broken_.emplace("KEMARI_CAPTURE_REFUSED", std::string("QEMU did not ") + what + " within 10 s");
      throw *broken_;
    }
  }
}

CaptureResult QemuCapture::capture(uint64_t epoch, ResumePolicy policy, bool guest_paused, int64_t called_ns) {
  require(tracker_ != nullptr, "the capture is not attached");
  require(!held_, "the guest is held by a capture already");
  std::unique_ptr<Checkpoint> checkpoint = outputs().sink->take();
  checkpoint->epoch = epoch;
  checkpoint->guest_paused = guest_paused;
  result_ = {};
  result_.epoch = epoch;
  try {
    take_messages();
    state_file_->expect(checkpoint->machine_state);
    command_ = {};
    const int64_t triggered_ns = monotonic_ns();
    fault_point("capture.before-stop");
    monitor_.trigger();
    stop_guest();
    fault_point("capture.after-stop");
    const int64_t stopped_ns = monotonic_ns();
    still_ns_ = still_since(triggered_ns, stopped_ns);
    result_.trigger_ns = still_ns_ - called_ns;
    result_.stop_ns = stopped_ns - still_ns_;
    result_.busy_share = load_->stopped(resumed_ns_, stopped_ns);
    result_.through_sequence = outputs().gate->cut();
    note_cut(epoch, result_.through_sequence);
    // Before the rings: their threads have just answered QEMU, and where CPUs are few they are not at rest yet.
    collect_theirs();
    fault_point("capture.scanned");
    const int64_t scanned_ns = monotonic_ns();
    cut_outputs(*checkpoint);
    collect_ours();
    checkpoint->ranges.assign(owed().begin(), owed().end());
    copy(*checkpoint);
    const int64_t copied_ns = monotonic_ns();
    result_.scan_ns = scanned_ns - stopped_ns;
    result_.copy_ns = copied_ns - scanned_ns;
    // QEMU may be done by now, or it goes on as soon as it is.
    if (policy == ResumePolicy::kAtOnce) let_go();
    fault_point("capture.serializing");
    wait_for_state();
    whole_ns_ = monotonic_ns();
    result_.serialize_ns = whole_ns_ - stopped_ns;
    check_state(checkpoint->machine_state);
  } catch (...) {
    give_up();
    outputs().sink->recycle(std::move(checkpoint));
    throw;
  }
  result_.dirty_pages = checkpoint->pages.page_count();
  result_.state_bytes = checkpoint->machine_state.size();
  result_.was_running = command_.stopped;
  result_.pause_ns = whole_ns_ - still_ns_;
  owed().clear();
  held_ = true;
  // Encoding is work for a CPU that QEMU may need to go on.
  const bool guest_first = policy == ResumePolicy::kAtOnce && result_.dirty_pages > kGuestFirstPages;
  if (!guest_first) outputs().sink->submit(std::move(checkpoint));
  if (policy == ResumePolicy::kHeld) return result_;
  try {
    finish(whole_ns_);
  } catch (const Error& error) {
    // The checkpoint is whole, whatever has become of QEMU since.
    if (!broken_) broken_ = error;
  }
  if (guest_first) outputs().sink->submit(std::move(checkpoint));
  return result_;
}

CaptureResult QemuCapture::resume() {
  require(held_, "no capture holds the guest");
  const int64_t released_ns = monotonic_ns();
  let_go();
  finish(released_ns);
  return result_;
}

void QemuCapture::let_go() {
  fault_point("capture.before-resume");
  state_file_->release();
}

// QEMU was let go: waits until the guest runs.
void QemuCapture::finish(int64_t released_ns) {
  held_ = false;
  wait_for_answer();
  fault_point("capture.after-resume");
  const int64_t answered_ns = monotonic_ns();
  result_.resumed = command_.resumed;
  result_.resume_ns = answered_ns - released_ns;
  result_.pause_ns = answered_ns - still_ns_;
  resumed_ns_ = answered_ns;
  prime();
}

void QemuCapture::stop_guest() {
  wait_until(
      [this](StateFile::Progress progress) { return command_.stopped || progress != StateFile::Progress::kNothing; },
      "stop the guest");
}

// With its vCPUs stopped QEMU first stops the devices, one after the other, and says STOP when it has. A guest without
// a device of ours is known to stand still from there on only.
int64_t QemuCapture::still_since(int64_t triggered_ns, int64_t stopped_ns) const {
  int64_t since_ns = stopped_ns;
  for (const auto& device : outputs().devices) {
    const int64_t began_ns = device->stop_began_ns();
    if (began_ns > triggered_ns) since_ns = std::min(since_ns, began_ns);
  }
  return since_ns;
}

void QemuCapture::wait_for_state() {
  wait_until([](StateFile::Progress progress) { return progress == StateFile::Progress::kWhole; }, "write its state");
}

void QemuCapture::check_state(const std::vector<uint8_t>& state) const {
  const bool is_state = state.size() > kStateMagic.size() &&
                        std::equal(kStateMagic.begin(), kStateMagic.end(), state.begin()) && state.back() == kStateEnd;
  if (!is_state) {
    fail("KEMARI_CAPTURE_REFUSED", "QEMU wrote " + std::to_string(state.size()) + " bytes that are no device state");
  }
}

void QemuCapture::wait_for_answer() {
  wait_until([this](StateFile::Progress) { return command_.answered; }, "answer after its state was taken");
}

// A capture came to nothing: the guest goes on, what was found is owed, and QEMU is ready for the next command.
void QemuCapture::give_up() noexcept {
  state_file_->abandon();
  if (broken_) return;
  try {
    if (!command_.answered) wait_for_answer();
    if (!monitor_.is_primed()) prime();
  } catch (const Error& error) {
    if (!broken_) broken_ = error;
  }
}

}  // namespace kemari
