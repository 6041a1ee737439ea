// The paused window of a guest of Xen's, from dom0.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "capture/capture.h"
#include "xen/abi.h"
#include "xen/domain.h"
#include "xen/foreign_pages.h"

namespace kemari::xen {

// Pages are frames of the guest's own address space. The log has what the guest wrote, and what Xen and back-ends wrote
// on its behalf; but not what they write through mappings that they keep. So these pages are copied at every cut: event
// words and time areas, the xenstore and console rings, the grant table, and every page that a back-end has mapped. Xen
// may write event words of a guest that is paused: whoever restores it raises all events once.
class XenCapture final : public Capture {
 public:
  XenCapture(uint16_t domid, Outputs outputs);
  ~XenCapture() override;

  void attach() override;
  uint64_t count_dirty() override;
  CaptureResult capture(uint64_t epoch, ResumePolicy policy, bool guest_paused, int64_t called_ns) override;
  CaptureResult resume() override;
  void detach() noexcept override;

 protected:
  void require_round() const override;
  void collect() override;
  void copy(Checkpoint& checkpoint) override;

 private:
  void require(bool condition, const char* what) const;
  void collect_all();
  void collect_late();
  void add_unlogged();
  void add_granted(uint64_t frame, uint64_t grant_version);
  void add_page(uint64_t frame);
  void cut(Checkpoint& checkpoint);
  void check(const DomainInfo& info) const;
  double busy_share(const DomainInfo& info, int64_t now_ns);
  void release();
  void let_go();

  uint16_t domid_;
  std::unique_ptr<Domain> domain_;  // this and what follows: while attached
  std::unique_ptr<ForeignPages> pages_;
  std::vector<HvmParam> parameters_;
  uint64_t frames_ = 0;  // of the address space
  uint64_t pages_owned_ = 0;
  bool counting_ = false;  // all pages were sent once
  bool has_cut_ = false;
  // Written, and no memory of the guest's own when the capture was attached: the grant table, for example. Another host
  // has nothing there before the first epoch's state says what it is.
  PageRanges late_;
  bool held_ = false;
  CaptureResult result_;  // of the capture that is held, too
  int64_t paused_ns_ = 0;
  int64_t load_since_ns_ = 0;  // 0: not known
  uint64_t load_cpu_ns_ = 0;
  PageRanges found_;                // members for their memory
  std::vector<uint64_t> unlogged_;  // frames
  std::vector<uint8_t> hvm_context_;
  std::vector<uint8_t> pv_context_;
};

}  // namespace kemari::xen
