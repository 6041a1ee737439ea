// What dom0 and Xen 4.17 say to each other on x86, as far as kemari does (xen/include/public; patches/xen for the PV
// context). Layouts are the hypervisor's; all values little-endian.
#pragma once

#include <cstddef>
#include <cstdint>

namespace kemari::xen {

// xen.h: DOMID_FIRST_RESERVED - 1
inline constexpr uint16_t kMaxDomid = 0x7fef;
inline constexpr uint64_t kHypervisorMemoryOp = 12;
inline constexpr uint64_t kHypervisorHvmOp = 34;
inline constexpr uint64_t kHypervisorDomctl = 36;

// memory.h: takes the address of a domid, returns the highest guest frame number.
inline constexpr uint64_t kXenmemMaximumGpfn = 14;

// memory.h: gives a page of Xen's a place in a domain's address space.
inline constexpr uint64_t kXenmemAddToPhysmap = 7;
inline constexpr uint32_t kMapspaceSharedInfo = 0;
inline constexpr uint32_t kMapspaceGrantTable = 1;

struct AddToPhysmap {
  uint16_t domid;
  uint16_t size;
  uint32_t space;
  uint64_t index;
  uint64_t frame;
};
static_assert(sizeof(AddToPhysmap) == 24);

// hvm/hvm_op.h, hvm/params.h
inline constexpr uint64_t kHvmopSetParam = 0;
inline constexpr uint64_t kHvmopGetParam = 1;
inline constexpr uint32_t kHvmParamCallbackIrq = 0;
inline constexpr uint32_t kHvmParamStorePfn = 1;
inline constexpr uint32_t kHvmParamStoreEvtchn = 2;
inline constexpr uint32_t kHvmParamIdentPt = 12;
inline constexpr uint32_t kHvmParamConsolePfn = 17;
inline constexpr uint32_t kHvmParamConsoleEvtchn = 18;
inline constexpr uint32_t kHvmParamAcpiIoportsLocation = 19;
inline constexpr uint32_t kHvmParamX87FipWidth = 36;
inline constexpr uint32_t kHvmParamVm86TssSized = 37;

struct HvmParam {
  uint16_t domid;
  uint16_t pad;
  uint32_t index;
  uint64_t value;
};

// domctl.h
inline constexpr uint32_t kDomctlInterfaceVersion = 0x15;
inline constexpr uint32_t kDomctlPauseDomain = 3;
inline constexpr uint32_t kDomctlUnpauseDomain = 4;
inline constexpr uint32_t kDomctlGetDomainInfo = 5;
inline constexpr uint32_t kDomctlShadowOp = 10;
inline constexpr uint32_t kDomctlGetHvmContext = 33;
inline constexpr uint32_t kDomctlSetHvmContext = 34;
inline constexpr uint32_t kDomctlGetTscInfo = 59;
inline constexpr uint32_t kDomctlGetPageFrameInfo3 = 61;
inline constexpr uint32_t kDomctlGetCpuPolicy = 82;
inline constexpr uint32_t kDomctlGetPvContext = 900;
inline constexpr uint32_t kDomctlSetPvContext = 901;

struct DomainInfo {
  uint16_t domain;
  uint16_t pad;
  uint32_t flags;
  uint64_t total_pages;
  uint64_t max_pages;
  uint64_t outstanding_pages;
  uint64_t shared_pages;
  uint64_t paged_pages;
  uint64_t shared_info_frame;
  uint64_t cpu_time_ns;
  uint32_t online_vcpus;
  uint32_t max_vcpu_id;
};
inline constexpr uint32_t kDomainDying = 1u << 0;
inline constexpr uint32_t kDomainHvm = 1u << 1;
inline constexpr uint32_t kDomainShutdown = 1u << 2;
inline constexpr uint32_t kDomainPaused = 1u << 3;

struct ShadowOp {
  uint32_t op;
  uint32_t mode;
  uint32_t mb;
  uint32_t pad;
  uint64_t dirty_bitmap;  // address of a buffer
  uint64_t pages;         // bits of it
  uint32_t fault_count;
  uint32_t dirty_count;
};
inline constexpr uint32_t kShadowOff = 0;
inline constexpr uint32_t kShadowEnableLogDirty = 2;
inline constexpr uint32_t kShadowClean = 11;

struct PageFrameInfo {
  uint64_t count;
  uint64_t frames;  // address of as many frame numbers, of which Xen makes types
};
inline constexpr uint64_t kMaxPageFrameInfos = 1024;
inline constexpr uint64_t kPageFrameNone = 0xful << 28;

// GETHVMCONTEXT has no flags.
struct ContextBuffer {
  uint32_t size;
  uint32_t flags;
  uint64_t buffer;  // its address; 0 asks for the size
};

struct TscInfo {
  uint32_t mode;
  uint32_t khz;
  uint32_t incarnation;
  uint32_t pad;
  uint64_t elapsed_ns;
};

// Counts of buffers' entries, in and out; addresses of 0 ask for the counts.
struct CpuPolicy {
  uint32_t leaves;
  uint32_t msrs;
  uint64_t leaf_buffer;
  uint64_t msr_buffer;
  uint32_t failed[3];
};
inline constexpr size_t kCpuidLeafBytes = 24;
inline constexpr size_t kMsrEntryBytes = 16;

struct Domctl {
  uint32_t command;
  uint32_t interface_version;
  uint16_t domain;
  uint16_t pad[3];
  union {
    DomainInfo info;
    PageFrameInfo frames;
    ShadowOp shadow;
    ContextBuffer context;
    TscInfo tsc;
    CpuPolicy policy;
    uint8_t bytes[128];
  } u;
};
static_assert(sizeof(Domctl) == 144);

// patches/xen: struct xen_pvcontext_*
inline constexpr uint32_t kPvContextVersion = 1;
inline constexpr uint64_t kNoFrame = ~uint64_t{0};

struct PvContextHeader {
  uint32_t version;
  uint32_t flags;
  uint32_t vcpus;
  uint32_t event_channels;
  uint32_t array_pages;
  uint32_t grant_frames;
  uint32_t grant_version;
  uint32_t pad;
  int64_t system_time_ns;
  uint64_t shared_info_frame;
};

struct PvContextVcpu {
  uint64_t vcpu_info_frame;
  uint64_t control_block_frame;
  uint32_t vcpu_info_offset;
  uint32_t control_block_offset;
  uint64_t runstate_gva;
  uint64_t time_info_gva;
  uint64_t singleshot_ns;
  uint64_t periodic_ns;
  uint64_t runstate_ns[4];
  uint32_t upcall_vector;
  uint32_t pad;
};

struct PvContextEventChannel {
  uint32_t port;
  uint8_t state;
  uint8_t priority;
  uint16_t flags;
  uint32_t vcpu;
  uint32_t peer;
  uint32_t peer_port;
  uint32_t pad;
};
static_assert(sizeof(PvContextHeader) == 48 && sizeof(PvContextVcpu) == 96 && sizeof(PvContextEventChannel) == 24);

// grant_table.h: an entry of version 1. While a back-end has it mapped, Xen shows how in the flags.
struct GrantEntry {
  uint16_t flags;
  uint16_t domid;
  uint32_t frame;
};
inline constexpr uint16_t kGrantTypeMask = 3;
inline constexpr uint16_t kGrantPermitAccess = 1;
inline constexpr uint16_t kGrantReading = 1u << 3;
inline constexpr uint16_t kGrantWriting = 1u << 4;

}  // namespace kemari::xen
