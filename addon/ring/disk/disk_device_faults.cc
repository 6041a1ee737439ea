// How a disk tells its owner what went wrong with storage.
#include <cerrno>
#include <chrono>
#include <cstring>
#include <string>
#include <utility>

#include "ring/disk/disk_device.h"

namespace kemari {

bool DiskDevice::may_report() {
  const auto now = std::chrono::steady_clock::now();
  if (now - error_window_ >= kErrorEventWindow) {
    error_window_ = now;
    errors_told_ = 0;
  }
  if (errors_told_ < kErrorEventsPerWindow) {
    ++errors_told_;
    return true;
  }
  ++errors_untold_;
  return false;
}

void DiskDevice::report(const DiskRequest& request, int error) {
  if (error == ECANCELED || !may_report()) return;
  std::string text = name() + ": " + describe(request) + " failed: ";
  text += error == ENODATA ? "the storage ends before it (was it cut short?)" : std::strerror(error);
  if (errors_untold_ > 0)
    text += " (" + std::to_string(std::exchange(errors_untold_, 0)) + " more errors were not told)";
  emit({DeviceEvent::Type::kIoError, "KEMARI_DISK_IO", text});
}

void DiskDevice::storage_event(const std::string& text) {
  if (may_report()) emit({DeviceEvent::Type::kIoError, "KEMARI_DISK_IO", name() + ": " + text});
}

void DiskDevice::left_unanswered() {
  counters_.unanswered_writes += 1;
}

}  // namespace kemari
