#include "ring/xen/grant_device.h"

#include <fcntl.h>
#include <sys/ioctl.h>
#include <sys/mman.h>

#include <cerrno>
#include <string>

#include "error.h"
#include "ring/xen/ring_layout.h"

namespace kemari::xen {

namespace {

constexpr char kDevice[] = "/dev/xen/gntdev";

// grant_table.h: what of a copy is named by a grant. The status is 0 where it was done.
constexpr uint16_t kCopySourceIsGrant = 1;
constexpr uint16_t kCopyTargetIsGrant = 2;

// As the kernel has them (include/uapi/xen/gntdev.h); its header needs one of Xen's that is not installed.
struct GrantRef {
  uint32_t domid;
  uint32_t ref;
};
// The ioctl is named by the size with one reference.
struct MapRequest {
  uint32_t count;
  uint32_t pad;
  uint64_t index;
  GrantRef refs[GrantDevice::kMaxMappedPages];
};
struct UnmapRequest {
  uint64_t index;
  uint32_t count;
  uint32_t pad;
};
union CopyEnd {
  void* ours;
  struct {
    uint32_t ref;
    uint16_t offset;
    uint16_t domid;
  } grant;
};
struct CopySegment {
  CopyEnd source;
  CopyEnd target;
  uint16_t length;
  uint16_t flags;
  int16_t status;
};
struct CopyRequest {
  uint32_t count;
  CopySegment* segments;
};
static_assert(sizeof(CopySegment) == 24 && sizeof(UnmapRequest) == 16 && sizeof(CopyRequest) == 16);
constexpr unsigned long kMapGrantRef = _IOC(_IOC_NONE, 'G', 0, 24);
constexpr unsigned long kUnmapGrantRef = _IOC(_IOC_NONE, 'G', 1, sizeof(UnmapRequest));
constexpr unsigned long kGrantCopy = _IOC(_IOC_NONE, 'G', 8, sizeof(CopyRequest));

}  // namespace

GrantMapping::GrantMapping(int device, uint16_t domid, std::span<const uint32_t> refs)
    : device_(device), count_(static_cast<uint32_t>(refs.size())), size_bytes_(refs.size() * kPageBytes) {
  if (refs.empty() || refs.size() > GrantDevice::kMaxMappedPages) {
    fail("KEMARI_XEN_GRANT", "a ring of " + std::to_string(refs.size()) + " pages");
  }
  MapRequest request{};
  request.count = count_;
  for (size_t i = 0; i < refs.size(); i++) request.refs[i] = {domid, refs[i]};
  if (ioctl(device, kMapGrantRef, &request) != 0) {
    fail_errno("KEMARI_XEN_GRANT", "ioctl", "cannot name the pages of a ring to be mapped");
  }
  index_ = request.index;
  void* const data =
      mmap(nullptr, size_bytes_, PROT_READ | PROT_WRITE, MAP_SHARED, device, static_cast<off_t>(request.index));
  if (data == MAP_FAILED) {
    const int error = errno;
    release();
    errno = error;
    fail_errno("KEMARI_XEN_GRANT", "mmap",
               "cannot map the ring that domain " + std::to_string(domid) + " has granted; is it gone?");
  }
  data_ = static_cast<uint8_t*>(data);
}

GrantMapping::~GrantMapping() {
  munmap(data_, size_bytes_);
  release();
}

void GrantMapping::release() noexcept {
  UnmapRequest request{};
  request.index = index_;
  request.count = count_;
  KEMARI_ASSERT(ioctl(device_, kUnmapGrantRef, &request) == 0);
}

GrantDevice::GrantDevice(uint16_t domid) : domid_(domid), device_(open(kDevice, O_RDWR | O_CLOEXEC)) {
  if (!device_.valid()) {
    fail_errno("KEMARI_XEN_MISSING", "open", std::string(kDevice) + " cannot be opened; is this dom0, as root?");
  }
}

std::unique_ptr<GrantMapping> GrantDevice::map(std::span<const uint32_t> refs) {
  return std::make_unique<GrantMapping>(device_.get(), domid_, refs);
}

void GrantDevice::copy(std::span<GrantCopy> copies, Direction direction) noexcept {
  if (copies.empty()) return;
  segments_.assign(copies.size() * sizeof(CopySegment), 0);
  // SAFETY: operator new aligns for it; as many as there are pieces.
  auto* segments = reinterpret_cast<CopySegment*>(segments_.data());
  const bool outwards = direction == Direction::kOut;
  for (size_t i = 0; i < copies.size(); i++) {
    const GrantPiece& piece = copies[i].piece;
    CopySegment& segment = segments[i];
    (outwards ? segment.target : segment.source).grant = {piece.ref, piece.offset, domid_};
    (outwards ? segment.source : segment.target).ours = copies[i].ours;
    segment.length = piece.length;
    segment.flags = outwards ? kCopyTargetIsGrant : kCopySourceIsGrant;
  }
  CopyRequest request{};
  request.count = static_cast<uint32_t>(copies.size());
  request.segments = segments;
  const bool is_carried_out = ioctl(device_.get(), kGrantCopy, &request) == 0;
  for (size_t i = 0; i < copies.size(); i++) copies[i].is_done = is_carried_out && segments[i].status == 0;
}

}  // namespace kemari::xen
