// Parts of the kernel's interface that are newer than the headers of Debian 12 (Linux 6.7: include/uapi/linux/fs.h and
// include/uapi/linux/userfaultfd.h).
#pragma once

#include <linux/userfaultfd.h>
#include <sys/ioctl.h>

#include <cstdint>

namespace kemari::kernel {

// struct page_region
struct PageRegion {
  uint64_t start;
  uint64_t end;
  uint64_t categories;
};

// struct pm_scan_arg
struct PagemapScan {
  uint64_t size;
  uint64_t flags;
  uint64_t start;
  uint64_t end;
  uint64_t walk_end;
  uint64_t vec;
  uint64_t vec_len;
  uint64_t max_pages;
  uint64_t category_inverted;
  uint64_t category_mask;
  uint64_t category_anyof_mask;
  uint64_t return_mask;
};

inline constexpr unsigned long kPagemapScan = _IOWR('f', 16, PagemapScan);
// Not by their names: newer headers have those as macros.
inline constexpr uint64_t kScanWriteProtect = 1 << 0;  // PM_SCAN_WP_MATCHING
inline constexpr uint64_t kScanCheckAsync = 1 << 1;    // PM_SCAN_CHECK_WPASYNC
inline constexpr uint64_t kPageIsWritten = 1 << 1;     // PAGE_IS_WRITTEN
inline constexpr uint64_t kPageIsPresent = 1 << 3;     // PAGE_IS_PRESENT

inline constexpr uint64_t kUffdWpShmem = 1 << 12;        // UFFD_FEATURE_WP_HUGETLBFS_SHMEM
inline constexpr uint64_t kUffdWpUnpopulated = 1 << 13;  // UFFD_FEATURE_WP_UNPOPULATED
inline constexpr uint64_t kUffdWpAsync = 1 << 15;        // UFFD_FEATURE_WP_ASYNC

}  // namespace kemari::kernel
