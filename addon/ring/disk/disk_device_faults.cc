// How a disk tells its owner what went wrong with storage.
#include <cerrno>
#include <chrono>
#include <cstring>
#include <string>
#include <utility>

#include "ring/disk/disk_device.h"

namespace kemari {

bool DiskDevice::Budget::take() {
  const auto now = std::chrono::steady_clock::now();
  if (now - window >= kErrorEventWindow) {
    window = now;
    told = 0;
  }
  if (told < kErrorEventsPerWindow) {
    ++told;
    return true;
  }
  ++untold;
  return false;
}

std::string DiskDevice::Budget::untold_text() {
  if (untold == 0) return "";
  return " (" + std::to_string(std::exchange(untold, 0)) + " more errors were not told)";
}

void DiskDevice::report(const DiskRequest& request, int error) {
  if (error == ECANCELED || !requests_told_.take()) return;
  std::string text = name() + ": " + describe(request) + " failed: ";
  text += error == ENODATA ? "the storage ends before it (was it cut short?)" : std::strerror(error);
  emit({DeviceEvent::Type::kIoError, "KEMARI_DISK_IO", text + requests_told_.untold_text()});
}

void DiskDevice::storage_event(const std::string& text) {
  if (!storage_told_.take()) return;
  emit({DeviceEvent::Type::kIoError, "KEMARI_DISK_IO", name() + ": " + text + storage_told_.untold_text()});
}

void DiskDevice::left_unanswered() {
  counters_.unanswered_writes += 1;
}

}  // namespace kemari
