#include "capture/page_tracker.h"

#include <fcntl.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <string>

#include "capture/process_maps.h"
#include "capture/stopped_thread.h"
#include "error.h"

namespace kemari {

namespace {

constexpr uint64_t kBlockPages = 512;     // what one page table maps
constexpr size_t kRegionsAtOnce = 16384;  // more take more calls

// A userfaultfd of another process. Nothing of it is left there once this has returned.
UniqueFd borrow_userfaultfd(pid_t process) {
  const UniqueFd handle(static_cast<int>(syscall(SYS_pidfd_open, process, 0)));
  if (!handle.valid()) fail("KEMARI_CAPTURE_GONE", "process " + std::to_string(process) + " has ended");
  StoppedThread thread(process);
  // Only faults of user mode, which is all that a process without privileges may ask for: the kernel resolves those of
  // asynchronous write protection by itself, whoever causes them.
  const int64_t number = thread.call(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK | UFFD_USER_MODE_ONLY);
  if (number < 0) {
    fail_errno("KEMARI_CAPTURE_ATTACH", "userfaultfd", "QEMU's process may not make a userfaultfd",
               static_cast<int>(-number));
  }
  UniqueFd fault(static_cast<int>(syscall(SYS_pidfd_getfd, handle.get(), static_cast<int>(number), 0)));
  const int error = errno;
  thread.call(SYS_close, static_cast<uint64_t>(number));
  if (!fault.valid()) {
    fail_errno("KEMARI_CAPTURE_ATTACH", "pidfd_getfd", "cannot take QEMU's userfaultfd", error);
  }
  return fault;
}

}  // namespace

PageTracker::PageTracker(pid_t process, int ram_file)
    : process_(process),
      ram_file_(ram_file),
      pagemap_(open(("/proc/" + std::to_string(process) + "/pagemap").c_str(), O_RDONLY | O_CLOEXEC)),
      regions_(kRegionsAtOnce) {
  if (!pagemap_.valid()) {
    if (errno == ENOENT) fail("KEMARI_CAPTURE_GONE", "process " + std::to_string(process) + " has ended");
    fail_errno("KEMARI_CAPTURE_ATTACH", "open", "cannot open the page map of process " + std::to_string(process));
  }
  find_mappings();
  fault_ = borrow_userfaultfd(process);
  watch();
}

PageTracker::~PageTracker() {
  for (const Mapping& mapping : mappings_) {
    uffdio_range range{mapping.start, mapping.end - mapping.start};
    // Fails where the process is gone, or has unmapped it: nothing is left to undo then.
    ioctl(fault_.get(), UFFDIO_UNREGISTER, &range);
  }
}

void PageTracker::find_mappings() {
  struct stat status;
  if (fstat(ram_file_, &status) != 0) fail_errno("KEMARI_CAPTURE_ATTACH", "fstat", "cannot examine guest memory");
  for (const ProcessMapping& found : process_mappings(process_)) {
    if (found.device != status.st_dev || found.inode != status.st_ino || !found.writable) continue;
    if (!found.shared) fail("KEMARI_CAPTURE_ATTACH", "QEMU maps guest memory privately; share=on is missing");
    mappings_.push_back({found.start, found.end, found.file_offset / kPageBytes});
  }
  if (mappings_.empty()) {
    fail("KEMARI_CAPTURE_ATTACH", "process " + std::to_string(process_) + " does not map the given guest memory");
  }
  std::sort(mappings_.begin(), mappings_.end(),
            [](const auto& a, const auto& b) { return a.first_page < b.first_page; });
  const uint64_t pages = static_cast<uint64_t>(status.st_size) / kPageBytes;
  seen_blocks_.resize((pages + kBlockPages - 1) / kBlockPages + 1);
}

void PageTracker::watch() {
  uffdio_api api{};
  api.api = UFFD_API;
  api.features = kernel::kUffdWpAsync | kernel::kUffdWpUnpopulated | kernel::kUffdWpShmem;
  if (ioctl(fault_.get(), UFFDIO_API, &api) != 0) {
    fail_errno("KEMARI_CAPTURE_ATTACH", "UFFDIO_API",
               "this kernel cannot track writes without stopping the writer; Linux 6.7 or later is needed");
  }
  for (const Mapping& mapping : mappings_) {
    uffdio_register watched{};
    watched.range = {mapping.start, mapping.end - mapping.start};
    watched.mode = UFFDIO_REGISTER_MODE_WP;
    if (ioctl(fault_.get(), UFFDIO_REGISTER, &watched) != 0) {
      fail_errno("KEMARI_CAPTURE_ATTACH", "UFFDIO_REGISTER",
                 "cannot track writes to guest memory (does something else track it already?)");
    }
  }
}

// Calls `found` with each range of addresses that was written, ascending.
template <typename Found>
void PageTracker::scan(const Mapping& mapping, uint64_t flags, Found&& found) {
  uint64_t at = mapping.start;
  while (at < mapping.end) {
    kernel::PagemapScan request{};
    request.size = sizeof request;
    request.flags = flags | kernel::kScanCheckAsync;
    request.start = at;
    request.end = mapping.end;
    // SAFETY: the kernel's way to take an address.
    request.vec = reinterpret_cast<uint64_t>(regions_.data());
    request.vec_len = regions_.size();
    // Nothing but "written" in both: the kernel then only looks at one bit of each entry.
    request.category_mask = kernel::kPageIsWritten;
    request.return_mask = kernel::kPageIsWritten;
    const int count = ioctl(pagemap_.get(), kernel::kPagemapScan, &request);
    if (count < 0 && errno == EINTR) continue;
    if (count < 0 && errno == ESRCH) fail("KEMARI_CAPTURE_GONE", "QEMU has ended");
    if (count < 0) fail_errno("KEMARI_CAPTURE_SCAN", "PAGEMAP_SCAN", "cannot ask which pages were written");
    for (int i = 0; i < count; i++) found(regions_[static_cast<size_t>(i)]);
    KEMARI_ASSERT(request.walk_end > at);
    at = request.walk_end;
  }
}

void PageTracker::collect(PageRanges& pages) {
  pages.clear();
  for (const Mapping& mapping : mappings_) {
    PageRanges found;
    scan(mapping, kernel::kScanWriteProtect, [&](const kernel::PageRegion& region) {
      append(found, mapping.first_page + (region.start - mapping.start) / kPageBytes,
             (region.end - region.start) / kPageBytes);
    });
    add_pages(pages, found);
  }
  for (const uint64_t block : new_blocks_) seen_blocks_[block] = true;
  new_blocks_.clear();
}

// Looks for holes only where a page table is new.
void PageTracker::append(PageRanges& pages, uint64_t first, uint64_t count) {
  const uint64_t end = first + count;
  while (first < end) {
    const uint64_t block = first / kBlockPages;
    const uint64_t in_block = std::min(end, (block + 1) * kBlockPages) - first;
    if (seen_blocks_[block]) {
      append_pages(pages, first, in_block);
    } else {
      append_data(pages, ram_file_, first, in_block);
      new_blocks_.push_back(block);
    }
    first += in_block;
  }
}

uint64_t PageTracker::count() {
  uint64_t bytes = 0;
  for (const Mapping& mapping : mappings_) {
    scan(mapping, 0, [&](const kernel::PageRegion& region) { bytes += region.end - region.start; });
  }
  return bytes / kPageBytes;
}

}  // namespace kemari
