#include "xen/domain.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <string>

#include "error.h"

namespace kemari::xen {

namespace {

constexpr uint64_t kBitsPerWord = 64;
// Ports come and go while the PV context is read, and each time Xen asks for another try.
constexpr int kTries = 16;

}  // namespace

Domain::Domain(uint16_t domid) : domid_(domid), operation_(calls_, sizeof(Domctl)) {
  info();
}

Domctl& Domain::prepared() noexcept {
  // SAFETY: the buffer is a page of ours, aligned and as large as this.
  return *reinterpret_cast<Domctl*>(operation_.data());
}

Domctl& Domain::prepare(uint32_t command) {
  Domctl& operation = prepared();
  operation = {};
  operation.command = command;
  operation.interface_version = kDomctlInterfaceVersion;
  operation.domain = domid_;
  return operation;
}

// 0 or errno.
int Domain::call() {
  return libraries().call1(calls_.get(), kHypervisorDomctl, operation_.address()) < 0 ? errno : 0;
}

[[noreturn]] static void refused(uint16_t domid, const char* what, int error) {
  const std::string domain = "domain " + std::to_string(domid);
  if (error == ESRCH) fail("KEMARI_XEN_GONE", "cannot " + std::string(what) + ": there is no " + domain);
  if (error == EACCES) {
    fail("KEMARI_XEN_VERSION", "this host's Xen is another than 4.17, the one that kemari speaks to");
  }
  fail_errno("KEMARI_XEN_REFUSED", "hypercall", "cannot " + std::string(what) + " of " + domain, error);
}

void Domain::require(const char* what) {
  if (const int error = call(); error != 0) refused(domid_, what, error);
}

DomainInfo Domain::info() {
  const Domctl& operation = prepare(kDomctlGetDomainInfo);
  require("read the state");
  // Xen answers for the next higher domid where there is none of this one.
  if (operation.u.info.domain != domid_) refused(domid_, "read the state", ESRCH);
  return operation.u.info;
}

void Domain::pause() {
  prepare(kDomctlPauseDomain);
  require("pause the vCPUs");
}

void Domain::unpause() {
  prepare(kDomctlUnpauseDomain);
  require("unpause the vCPUs");
}

uint64_t Domain::max_frame() {
  std::memcpy(operation_.data(), &domid_, sizeof domid_);
  const int frame = libraries().call2(calls_.get(), kHypervisorMemoryOp, kXenmemMaximumGpfn, operation_.address());
  if (frame < 0) refused(domid_, "find the highest frame", errno);
  return static_cast<uint64_t>(frame);
}

std::vector<uint64_t> Domain::memory_frames(uint64_t frames) {
  if (!frames_) frames_ = std::make_unique<CallBuffer>(calls_, kMaxPageFrameInfos * sizeof(uint64_t));
  // SAFETY: allocated as that many words, page-aligned.
  auto* const words = reinterpret_cast<uint64_t*>(frames_->data());
  std::vector<uint64_t> found;
  for (uint64_t first = 0; first < frames; first += kMaxPageFrameInfos) {
    const uint64_t count = std::min(kMaxPageFrameInfos, frames - first);
    for (uint64_t i = 0; i < count; i++) words[i] = first + i;
    prepare(kDomctlGetPageFrameInfo3).u.frames = {count, frames_->address()};
    require("find the memory");
    for (uint64_t i = 0; i < count; i++) {
      if (words[i] != kPageFrameNone) found.push_back(first + i);
    }
  }
  return found;
}

uint64_t Domain::parameter(uint32_t index) {
  HvmParam parameter{domid_, 0, index, 0};
  std::memcpy(operation_.data(), &parameter, sizeof parameter);
  if (libraries().call2(calls_.get(), kHypervisorHvmOp, kHvmopGetParam, operation_.address()) < 0) {
    refused(domid_, "read a parameter", errno);
  }
  std::memcpy(&parameter, operation_.data(), sizeof parameter);
  return parameter.value;
}

void Domain::set_parameter(uint32_t index, uint64_t value) {
  const HvmParam parameter{domid_, 0, index, value};
  std::memcpy(operation_.data(), &parameter, sizeof parameter);
  if (libraries().call2(calls_.get(), kHypervisorHvmOp, kHvmopSetParam, operation_.address()) < 0) {
    refused(domid_, ("set parameter " + std::to_string(index)).c_str(), errno);
  }
}

void Domain::place(uint32_t space, uint64_t index, uint64_t frame, const char* what) {
  const AddToPhysmap place{domid_, 0, space, index, frame};
  std::memcpy(operation_.data(), &place, sizeof place);
  if (libraries().call2(calls_.get(), kHypervisorMemoryOp, kXenmemAddToPhysmap, operation_.address()) < 0) {
    refused(domid_, what, errno);
  }
}

void Domain::place_shared_info(uint64_t frame) {
  place(kMapspaceSharedInfo, 0, frame, "place shared_info");
}

void Domain::place_grant_table(uint64_t index, uint64_t frame) {
  place(kMapspaceGrantTable, index, frame, "place the grant table");
}

PolicyBytes Domain::cpu_policy() {
  prepare(kDomctlGetCpuPolicy);
  require("read the CPU policy");
  CpuPolicy policy = prepared().u.policy;
  const CallBuffer leaves(calls_, policy.leaves * kCpuidLeafBytes);
  const CallBuffer msrs(calls_, policy.msrs * kMsrEntryBytes);
  policy.leaf_buffer = leaves.address();
  policy.msr_buffer = msrs.address();
  prepare(kDomctlGetCpuPolicy).u.policy = policy;
  require("read the CPU policy");
  policy = prepared().u.policy;
  return {{leaves.data(), leaves.data() + policy.leaves * kCpuidLeafBytes},
          {msrs.data(), msrs.data() + policy.msrs * kMsrEntryBytes}};
}

TscInfo Domain::tsc_info() {
  prepare(kDomctlGetTscInfo);
  require("read the TSC mode");
  return prepared().u.tsc;
}

void Domain::start_log() {
  prepare(kDomctlShadowOp).u.shadow.op = kShadowEnableLogDirty;
  require("log the written pages");
}

void Domain::stop_log() {
  prepare(kDomctlShadowOp).u.shadow.op = kShadowOff;
  require("end the log of written pages");
}

std::span<const uint64_t> Domain::take_log(uint64_t frames) {
  const uint64_t words = (frames + kBitsPerWord - 1) / kBitsPerWord;
  if (!log_ || log_->size_bytes() < words * sizeof(uint64_t)) {
    log_ = std::make_unique<CallBuffer>(calls_, words * sizeof(uint64_t));
  }
  Domctl& operation = prepare(kDomctlShadowOp);
  operation.u.shadow.op = kShadowClean;
  operation.u.shadow.dirty_bitmap = log_->address();
  operation.u.shadow.pages = frames;
  require("read the written pages");
  // SAFETY: allocated as that many words, page-aligned.
  return {reinterpret_cast<const uint64_t*>(log_->data()), words};
}

// The first time Xen is asked for the size; later the buffer is grown where it has become too small.
void Domain::read_context(uint32_t command, std::unique_ptr<CallBuffer>& buffer, std::vector<uint8_t>& context,
                          const char* what) {
  for (int tries = 0;; tries++) {
    Domctl& operation = prepare(command);
    if (buffer) {
      operation.u.context.buffer = buffer->address();
      operation.u.context.size = static_cast<uint32_t>(buffer->size_bytes());
    }
    const int error = call();
    const uint32_t size = operation.u.context.size;
    if (error == 0 && buffer) {
      context.assign(buffer->data(), buffer->data() + size);
      return;
    }
    if ((error != 0 && error != ENOSPC && error != EAGAIN) || tries == kTries) refused(domid_, what, error);
    if (error != EAGAIN) {
      // Half as much again: what the guest binds next needs no new one.
      buffer = std::make_unique<CallBuffer>(calls_, size_t{size} * 3 / 2);
    }
  }
}

void Domain::write_context(uint32_t command, std::span<const uint8_t> context, const char* what) {
  const CallBuffer buffer(calls_, context.size());
  std::memcpy(buffer.data(), context.data(), context.size());
  Domctl& operation = prepare(command);
  operation.u.context.buffer = buffer.address();
  operation.u.context.size = static_cast<uint32_t>(context.size());
  require(what);
}

void Domain::set_hvm_context(std::span<const uint8_t> context) {
  write_context(kDomctlSetHvmContext, context, "set the HVM context");
}

void Domain::set_pv_context(std::span<const uint8_t> context) {
  write_context(kDomctlSetPvContext, context, "set the PV context");
}

void Domain::hvm_context(std::vector<uint8_t>& context) {
  read_context(kDomctlGetHvmContext, hvm_context_, context, "read the HVM context");
}

void Domain::pv_context(std::vector<uint8_t>& context) {
  read_context(kDomctlGetPvContext, pv_context_, context, "read the PV context");
}

// An unpatched hypervisor knows no such operation, whatever the state of the domain; ours wants it paused.
bool Domain::has_pv_context() {
  prepare(kDomctlGetPvContext);
  const int error = call();
  return error != ENOSYS && error != EOPNOTSUPP;
}

}  // namespace kemari::xen
