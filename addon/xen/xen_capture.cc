#include "xen/xen_capture.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cstring>
#include <span>
#include <string>
#include <utility>

#include "clock.h"
#include "error.h"
#include "evidence/evidence.h"
#include "xen/machine_state.h"
#include "xen/pv_context.h"

namespace kemari::xen {

namespace {

constexpr uint64_t kBitsPerWord = 64;

}  // namespace

XenCapture::XenCapture(uint16_t domid, Outputs outputs) : Capture(std::move(outputs)), domid_(domid) {}

XenCapture::~XenCapture() {
  detach();
}

void XenCapture::require(bool condition, const char* what) const {
  if (!condition) fail("KEMARI_CAPTURE_STATE", what);
}

void XenCapture::require_round() const {
  require(domain_ != nullptr, "the capture is not attached");
  require(!held_, "the guest is held by a capture");
}

void XenCapture::attach() {
  require(!domain_, "the capture is attached already");
  auto domain = std::make_unique<Domain>(domid_);
  const DomainInfo info = domain->info();
  if ((info.flags & kDomainHvm) == 0) {
    fail("KEMARI_XEN_GUEST", "domain " + std::to_string(domid_) + " is a PV guest; PVH and HVM guests are protected");
  }
  if (!domain->has_pv_context()) {
    fail("KEMARI_XEN_UNPATCHED",
         "this hypervisor does not tell what it keeps for a guest; it needs patches/xen (hack/xen-build)");
  }
  parameters_ = read_parameters(*domain);
  frames_ = domain->max_frame() + 1;
  pages_owned_ = info.total_pages;
  domain->start_log();
  domain_ = std::move(domain);
  try {
    pages_ = std::make_unique<ForeignPages>(domain_->domid(), frames_, ForeignPages::Access::kRead);
    pages_->map_all(*domain_);
    for (const auto& device : outputs().devices) device->set_suspend_on_stop(true);
  } catch (...) {
    detach();
    throw;
  }
}

void XenCapture::detach() noexcept {
  if (domain_) {
    try {
      if (held_) release();
      domain_->stop_log();
    } catch (const Error&) {
      // The domain is gone, and its log with it.
    }
  }
  for (const auto& device : outputs().devices) device->set_suspend_on_stop(false);
  held_ = false;
  pages_.reset();
  domain_.reset();
  counting_ = false;
  has_cut_ = false;
  late_.clear();
  load_since_ns_ = 0;
  owed().clear();
  forget_abort();
}

// --- pages ----------------------------------------------------------------------------------------------------------

void XenCapture::collect() {
  const std::span<const uint64_t> log = domain_->take_log(frames_);
  if (!std::exchange(counting_, true)) return collect_all();
  found_.clear();
  PageRanges late;
  for (size_t word = 0; word < log.size(); word++) {
    for (uint64_t bits = log[word]; bits != 0; bits &= bits - 1) {
      const uint64_t frame = word * kBitsPerWord + static_cast<uint64_t>(std::countr_zero(bits));
      if (!has_cut_ && !pages_->is_mapped(frame)) {
        append_pages(late, frame, 1);
        continue;
      }
      // What the guest gave back to Xen since has no contents.
      if (pages_->at(frame) != nullptr) append_pages(found_, frame, 1);
    }
  }
  add_pages(late_, late);
  add_pages(owed(), found_);
}

// From here on all may be sent: each epoch says where Xen's own pages are.
void XenCapture::collect_late() {
  has_cut_ = true;
  found_.clear();
  for (const PageRange& range : std::exchange(late_, {})) {
    for (uint64_t i = 0; i < range.count; i++) {
      if (pages_->at(range.first + i) != nullptr) append_pages(found_, range.first + i, 1);
    }
  }
  add_pages(owed(), found_);
}

void XenCapture::collect_all() {
  owed().clear();
  for (uint64_t frame = 0; frame < frames_; frame++) {
    if (pages_->is_mapped(frame)) append_pages(owed(), frame, 1);
  }
}

// The hypervisor counts as it clears, so nothing is known between two rounds but what is owed.
uint64_t XenCapture::count_dirty() {
  require(domain_ != nullptr, "the capture is not attached");
  if (counting_) {
    collect();
    return page_count(owed());
  }
  uint64_t count = 0;
  for (uint64_t frame = 0; frame < frames_; frame++) count += pages_->is_mapped(frame) ? 1 : 0;
  return count;
}

void XenCapture::copy(Checkpoint& checkpoint) {
  uint8_t* to = checkpoint.pages.append(page_count(checkpoint.ranges));
  for (const PageRange& range : checkpoint.ranges) {
    for (uint64_t i = 0; i < range.count; i++, to += kPageBytes) {
      const uint8_t* const from = pages_->at(range.first + i);
      KEMARI_ASSERT(from != nullptr);
      std::memcpy(to, from, kPageBytes);
    }
  }
}

void XenCapture::add_page(uint64_t frame) {
  if (pages_->at(frame) != nullptr) unlogged_.push_back(frame);
}

// Pages that a back-end has mapped, for as long as it has: rings, and what it reads into.
void XenCapture::add_granted(uint64_t frame, uint64_t grant_version) {
  const uint8_t* const table = pages_->at(frame);
  if (table == nullptr) return;
  if (grant_version != 1) {
    fail("KEMARI_XEN_GUEST", "the guest uses grant tables of version 2; start it with max_grant_version = 1");
  }
  for (size_t offset = 0; offset < kPageBytes; offset += sizeof(GrantEntry)) {
    GrantEntry entry;
    std::memcpy(&entry, table + offset, sizeof entry);
    const bool is_mapped = (entry.flags & (kGrantReading | kGrantWriting)) != 0;
    if ((entry.flags & kGrantTypeMask) == kGrantPermitAccess && is_mapped) add_page(entry.frame);
  }
}

void XenCapture::add_unlogged() {
  unlogged_.clear();
  const PvContextFrames frames = frames_of(pv_context_);
  for (const uint64_t frame : frames.events) add_page(frame);
  for (const HvmParam& parameter : parameters_) {
    const bool is_ring = parameter.index == kHvmParamStorePfn || parameter.index == kHvmParamConsolePfn;
    if (is_ring && parameter.value != 0) add_page(parameter.value);
  }
  for (const uint64_t frame : frames.grants) {
    add_page(frame);
    add_granted(frame, frames.grant_version);
  }
  std::sort(unlogged_.begin(), unlogged_.end());
  found_.clear();
  for (const uint64_t frame : unlogged_) append_pages(found_, frame, 1);
  add_pages(owed(), found_);
}

// --- the paused window ----------------------------------------------------------------------------------------------

// For how much of the time since the last capture the guest's vCPUs ran, all together: no less than the busiest of
// them.
double XenCapture::busy_share(const DomainInfo& info, int64_t now_ns) {
  const int64_t since_ns = std::exchange(load_since_ns_, now_ns);
  const uint64_t before_ns = std::exchange(load_cpu_ns_, info.cpu_time_ns);
  if (since_ns == 0 || now_ns <= since_ns) return 1;
  return std::min(1.0, static_cast<double>(info.cpu_time_ns - before_ns) / static_cast<double>(now_ns - since_ns));
}

// A page that the guest gives back and takes anew is another page of the host, which the kept mapping does not show.
void XenCapture::check(const DomainInfo& info) const {
  if ((info.flags & kDomainDying) != 0) fail("KEMARI_XEN_GONE", "the domain is being destroyed");
  if (info.total_pages == pages_owned_) return;
  fail("KEMARI_XEN_GUEST", "the guest had " + std::to_string(pages_owned_) + " pages and has " +
                               std::to_string(info.total_pages) + "; start it with maxmem as its memory, and leave it");
}

// The guest stands still.
void XenCapture::cut(Checkpoint& checkpoint) {
  for (const std::shared_ptr<RingDevice>& device : outputs().devices) device->machine_stopped();
  const int64_t stopped_ns = monotonic_ns();
  result_.stop_ns = stopped_ns - paused_ns_;
  result_.through_sequence = outputs().gate->cut();
  note_cut(checkpoint.epoch, result_.through_sequence);
  cut_outputs(checkpoint);
  collect();
  collect_late();
  domain_->pv_context(pv_context_);
  parameters_.front().value = domain_->parameter(kHvmParamCallbackIrq);
  add_unlogged();
  const int64_t scanned_ns = monotonic_ns();
  checkpoint.ranges.assign(owed().begin(), owed().end());
  copy(checkpoint);
  const int64_t copied_ns = monotonic_ns();
  domain_->hvm_context(hvm_context_);
  result_.scan_ns = scanned_ns - stopped_ns;
  result_.copy_ns = copied_ns - scanned_ns;
  result_.serialize_ns = monotonic_ns() - copied_ns;
}

CaptureResult XenCapture::capture(uint64_t epoch, ResumePolicy policy, bool guest_paused, int64_t called_ns) {
  require(domain_ != nullptr, "the capture is not attached");
  require(!held_, "the guest is held by a capture already");
  const DomainInfo info = domain_->info();
  check(info);
  std::unique_ptr<Checkpoint> checkpoint = outputs().sink->take();
  checkpoint->epoch = epoch;
  checkpoint->guest_paused = guest_paused;
  result_ = {};
  result_.epoch = epoch;
  result_.was_running = (info.flags & (kDomainPaused | kDomainShutdown)) == 0;
  paused_ns_ = monotonic_ns();
  result_.trigger_ns = paused_ns_ - called_ns;
  result_.busy_share = busy_share(info, paused_ns_);
  domain_->pause();
  held_ = true;
  try {
    cut(*checkpoint);
  } catch (...) {
    outputs().sink->recycle(std::move(checkpoint));
    let_go();
    throw;
  }
  result_.pause_ns = monotonic_ns() - paused_ns_;
  if (policy == ResumePolicy::kAtOnce) let_go();
  write_machine_state({parameters_, hvm_context_, pv_context_}, checkpoint->machine_state);
  result_.dirty_pages = checkpoint->pages.page_count();
  result_.state_bytes = checkpoint->machine_state.size();
  owed().clear();
  outputs().sink->submit(std::move(checkpoint));
  return result_;
}

CaptureResult XenCapture::resume() {
  require(held_, "no capture holds the guest");
  let_go();
  return result_;
}

void XenCapture::release() {
  held_ = false;
  domain_->unpause();
  for (const std::shared_ptr<RingDevice>& device : outputs().devices) device->machine_continues();
}

void XenCapture::let_go() {
  const int64_t released_ns = monotonic_ns();
  release();
  const int64_t resumed_ns = monotonic_ns();
  result_.resumed = result_.was_running;
  result_.resume_ns = resumed_ns - released_ns;
  result_.pause_ns = resumed_ns - paused_ns_;
}

}  // namespace kemari::xen
