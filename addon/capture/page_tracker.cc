#include "capture/page_tracker.h"

#include <fcntl.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysinfo.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <string>
#include <system_error>

#include "capture/process_maps.h"
#include "capture/stopped_thread.h"
#include "error.h"

namespace kemari {

namespace {

constexpr uint64_t kBlockBytes = 2 << 20;  // what one page table maps
constexpr size_t kRegionsAtOnce = 16384;   // more take more calls
// Untouched blocks between touched ones that are cheaper treated as touched than gone around with another call.
constexpr uint64_t kBridgedBlocks = 2;

bool host_has_swap() {
  struct sysinfo info;
  return sysinfo(&info) != 0 || info.totalswap != 0;
}

// A VM of KVM's has its own page tables, and before anything is armed KVM throws away what it has there for the whole
// range that is named, whatever is found in it.
bool runs_kvm(pid_t process) {
  const std::filesystem::path folder = "/proc/" + std::to_string(process) + "/fd";
  std::error_code ignored;
  for (const auto& entry : std::filesystem::directory_iterator(folder, ignored)) {
    const std::filesystem::path target = std::filesystem::read_symlink(entry.path(), ignored);
    if (target == "anon_inode:kvm-vm") return true;
  }
  return false;
}

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
      narrow_(runs_kvm(process)),
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
    const uint64_t blocks = (found.end - 1) / kBlockBytes - found.start / kBlockBytes + 1;
    mappings_.push_back(
        {found.start, found.end, found.file_offset / kPageBytes, std::vector<bool>(blocks), std::vector<bool>(blocks)});
  }
  if (mappings_.empty()) {
    fail("KEMARI_CAPTURE_ATTACH", "process " + std::to_string(process_) + " does not map the given guest memory");
  }
  std::sort(mappings_.begin(), mappings_.end(),
            [](const auto& a, const auto& b) { return a.first_page < b.first_page; });
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

// --- blocks ---------------------------------------------------------------------------------------------------------

uint64_t PageTracker::block_of(const Mapping& mapping, uint64_t address) noexcept {
  return address / kBlockBytes - mapping.start / kBlockBytes;
}

// The addresses of neighbouring blocks that are all touched, or all untouched.
std::vector<PageTracker::Span> PageTracker::spans(const Mapping& mapping, bool touched) {
  std::vector<Span> found;
  const uint64_t base = mapping.start / kBlockBytes * kBlockBytes;
  for (uint64_t block = 0; block < mapping.touched.size(); block++) {
    if (mapping.touched[block] != touched) continue;
    const uint64_t start = std::max(mapping.start, base + block * kBlockBytes);
    const uint64_t end = std::min(mapping.end, base + (block + 1) * kBlockBytes);
    if (!found.empty() && found.back().end == start) {
      found.back().end = end;
    } else {
      found.push_back({start, end});
    }
  }
  return found;
}

void PageTracker::touch(Mapping& mapping, uint64_t first_address, uint64_t last_address) {
  for (uint64_t block = block_of(mapping, first_address); block <= block_of(mapping, last_address); block++) {
    mapping.touched[block] = true;
    mapping.fresh[block] = true;
  }
}

void PageTracker::find_touched(Mapping& mapping) {
  for (const Span& span : spans(mapping, false)) {
    scan(span, 0, kernel::kPageIsWritten | kernel::kPageIsPresent,
         [&](const kernel::PageRegion& region) { touch(mapping, region.start, region.end - 1); });
  }
  if (host_has_swap()) find_swapped(mapping);
  bridge(mapping);
}

// Pages of a block may all have been written and swapped out again since the last look: they are data of the file.
void PageTracker::find_swapped(Mapping& mapping) {
  for (const Span& span : spans(mapping, false)) {
    PageRanges data;
    append_data(data, ram_file_, mapping.first_page + (span.start - mapping.start) / kPageBytes,
                (span.end - span.start) / kPageBytes);
    for (const PageRange& range : data) {
      const uint64_t start = mapping.start + (range.first - mapping.first_page) * kPageBytes;
      touch(mapping, start, start + range.count * kPageBytes - 1);
    }
  }
}

void PageTracker::bridge(Mapping& mapping) {
  const std::vector<Span> gaps = spans(mapping, false);
  for (const Span& gap : gaps) {
    const bool between = gap.start != mapping.start && gap.end != mapping.end;
    if (between && gap.end - gap.start <= kBridgedBlocks * kBlockBytes) touch(mapping, gap.start, gap.end - 1);
  }
}

// --- pages ----------------------------------------------------------------------------------------------------------

// Calls `found` with each range of addresses that has all these categories, ascending.
template <typename Found>
void PageTracker::scan(Span span, uint64_t flags, uint64_t categories, Found&& found) {
  uint64_t at = span.start;
  while (at < span.end) {
    kernel::PagemapScan request{};
    request.size = sizeof request;
    request.flags = flags | kernel::kScanCheckAsync;
    request.start = at;
    request.end = span.end;
    // SAFETY: the kernel's way to take an address.
    request.vec = reinterpret_cast<uint64_t>(regions_.data());
    request.vec_len = regions_.size();
    request.category_mask = categories;
    // Where nothing but "written" is asked and told, the kernel looks at one bit of each entry.
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
  for (Mapping& mapping : mappings_) {
    find_touched(mapping);
    PageRanges found;
    for (const Span& span : spans(mapping, true)) collect_span(mapping, span, found);
    mapping.fresh.assign(mapping.fresh.size(), false);
    add_pages(pages, found);
  }
}

void PageTracker::collect_span(const Mapping& mapping, Span span, PageRanges& pages) {
  const auto arm = [&](Span armed) {
    scan(armed, kernel::kScanWriteProtect, kernel::kPageIsWritten,
         [&](const kernel::PageRegion& region) { append(mapping, region.start, region.end, pages); });
  };
  if (!narrow_) return arm(span);
  std::vector<Span> written;
  scan(span, 0, kernel::kPageIsWritten, [&](const kernel::PageRegion& region) {
    const uint64_t start = std::max(span.start, region.start / kBlockBytes * kBlockBytes);
    const uint64_t end = std::min(span.end, (region.end + kBlockBytes - 1) / kBlockBytes * kBlockBytes);
    if (!written.empty() && start <= written.back().end) {
      written.back().end = end;
    } else {
      written.push_back({start, end});
    }
  });
  for (const Span& blocks : written) arm(blocks);
}

// Looks for holes only where a page table is new.
void PageTracker::append(const Mapping& mapping, uint64_t start, uint64_t end, PageRanges& pages) {
  while (start < end) {
    const uint64_t in_block = std::min(end, (start / kBlockBytes + 1) * kBlockBytes);
    const uint64_t first = mapping.first_page + (start - mapping.start) / kPageBytes;
    const uint64_t count = (in_block - start) / kPageBytes;
    if (mapping.fresh[block_of(mapping, start)]) {
      append_data(pages, ram_file_, first, count);
    } else {
      append_pages(pages, first, count);
    }
    start = in_block;
  }
}

uint64_t PageTracker::count() {
  uint64_t bytes = 0;
  const auto add = [&](const kernel::PageRegion& region) { bytes += region.end - region.start; };
  for (const Mapping& mapping : mappings_) {
    for (const Span& span : spans(mapping, true)) scan(span, 0, kernel::kPageIsWritten, add);
    for (const Span& span : spans(mapping, false)) {
      scan(span, 0, kernel::kPageIsWritten | kernel::kPageIsPresent, add);
    }
  }
  return bytes / kPageBytes;
}

}  // namespace kemari
