#include "capture/process_maps.h"

#include <sys/sysmacros.h>

#include <array>
#include <cinttypes>
#include <cstdio>
#include <fstream>

#include "error.h"

namespace kemari {

std::vector<ProcessMapping> process_mappings(pid_t process) {
  std::ifstream file("/proc/" + std::to_string(process) + "/maps");
  std::vector<ProcessMapping> mappings;
  std::string line;
  while (std::getline(file, line)) {
    ProcessMapping mapping{};
    std::array<char, 5> rights{};
    unsigned int major = 0;
    unsigned int minor = 0;
    int name_at = 0;
    const int found =
        std::sscanf(line.c_str(), "%" SCNx64 "-%" SCNx64 " %4s %" SCNx64 " %x:%x %" SCNu64 " %n", &mapping.start,
                    &mapping.end, rights.data(), &mapping.file_offset, &major, &minor, &mapping.inode, &name_at);
    constexpr int kFields = 7;
    if (found != kFields) continue;
    mapping.device = makedev(major, minor);
    mapping.writable = rights[1] == 'w';
    mapping.shared = rights[3] == 's';
    mapping.name = line.substr(static_cast<size_t>(name_at));
    mappings.push_back(std::move(mapping));
  }
  // The file of a process that is ending is empty.
  if (mappings.empty()) fail("KEMARI_CAPTURE_GONE", "process " + std::to_string(process) + " has ended");
  return mappings;
}

}  // namespace kemari
