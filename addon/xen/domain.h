// Hypercalls about one domain of this host.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "xen/abi.h"
#include "xen/call_buffer.h"

namespace kemari::xen {

// What a guest sees of the processor, as Xen writes it down (arch-x86/xen.h): entries of CPUID and of MSRs.
struct PolicyBytes {
  std::vector<uint8_t> cpuid;
  std::vector<uint8_t> msrs;
};

// Not thread-safe. Everything throws KEMARI_XEN_GONE where the domain is no more and KEMARI_XEN_REFUSED with what else
// the hypervisor says; the constructor also KEMARI_XEN_MISSING, KEMARI_XEN_VERSION and KEMARI_XEN_MEMORY.
class Domain {
 public:
  explicit Domain(uint16_t domid);

  uint16_t domid() const noexcept { return domid_; }
  DomainInfo info();
  // Returns when no vCPU runs any more. Pauses are counted: each needs its unpause.
  void pause();
  void unpause();
  uint64_t max_frame();
  // Those of frames [0, frames) that have memory of the guest's own, ascending; without Xen's in it (shared_info, grant
  // table). Asks a thousand at a time: to map what has none costs a
  // hypercall each.
  std::vector<uint64_t> memory_frames(uint64_t frames);
  uint64_t parameter(uint32_t index);
  void set_parameter(uint32_t index, uint64_t value);
  // Puts shared_info, or a page of the grant table, which grows for it, at this frame.
  void place_shared_info(uint64_t frame);
  void place_grant_table(uint64_t index, uint64_t frame);
  PolicyBytes cpu_policy();
  TscInfo tsc_info();

  // From here on, what anybody writes to the domain's memory is logged. Somebody else may be logging already, a
  // migration of xl's: KEMARI_XEN_REFUSED.
  void start_log();
  void stop_log();
  // Frames [0, frames) that were written since the last call, one bit each, the lowest first; the log is empty then.
  // Valid until the next call. Pages that Xen or a back-end writes by a mapping of their own are not in it.
  std::span<const uint64_t> take_log(uint64_t frames);

  // The domain must be paused. `context` is replaced.
  void hvm_context(std::vector<uint8_t>& context);
  void pv_context(std::vector<uint8_t>& context);
  // Of a domain that has never run and whose memory is in place; the PV context last, once. After an error the domain
  // is good for nothing but to be destroyed.
  void set_hvm_context(std::span<const uint8_t> context);
  void set_pv_context(std::span<const uint8_t> context);
  // Whether this hypervisor has patches/xen.
  bool has_pv_context();

 private:
  Domctl& prepare(uint32_t command);
  Domctl& prepared() noexcept;  // also what Xen answered
  int call();
  void require(const char* what);
  void place(uint32_t space, uint64_t index, uint64_t frame, const char* what);
  void write_context(uint32_t command, std::span<const uint8_t> context, const char* what);
  void read_context(uint32_t command, std::unique_ptr<CallBuffer>& buffer, std::vector<uint8_t>& context,
                    const char* what);

  uint16_t domid_;
  CallHandle calls_;
  CallBuffer operation_;
  std::unique_ptr<CallBuffer> frames_;
  std::unique_ptr<CallBuffer> log_;
  std::unique_ptr<CallBuffer> hvm_context_;
  std::unique_ptr<CallBuffer> pv_context_;
};

}  // namespace kemari::xen
