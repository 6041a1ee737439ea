// What /proc/PID/maps says of a process's memory.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <string>
#include <vector>

namespace kemari {

// Addresses [start, end) of a process, from `file_offset` on in the file that they map.
struct ProcessMapping {
  uint64_t start;
  uint64_t end;
  uint64_t file_offset;
  uint64_t device;  // as st_dev; 0 with inode 0 where no file is mapped
  uint64_t inode;
  bool writable;
  bool shared;
  std::string name;
};

// In the order of their addresses. Throws KEMARI_CAPTURE_GONE when the process has ended.
std::vector<ProcessMapping> process_mappings(pid_t process);

}  // namespace kemari
