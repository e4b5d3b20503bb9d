#include "memory_use.h"

#include <sys/stat.h>

#include <cinttypes>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <string>

namespace spmv {

uint64_t PrivateBytes() {
  std::ifstream rollup("/proc/self/smaps_rollup");
  for (std::string word; rollup >> word;) {
    uint64_t kib = 0;
    if (word == "Anonymous:" && rollup >> kib) return kib * 1024;
  }
  return 0;
}

/** The file is found by its inode among those that are open, since it may have no name. */
uint64_t SegmentBytes(const void* address) {
  constexpr uint64_t kBlockBytes = 512;  // the unit of st_blocks
  const auto wanted = reinterpret_cast<uint64_t>(address);
  uint64_t inode = 0;
  std::ifstream maps("/proc/self/maps");
  for (std::string line; inode == 0 && std::getline(maps, line);) {
    uint64_t begin = 0;
    uint64_t end = 0;
    uint64_t here = 0;
    if (std::sscanf(line.c_str(), "%" SCNx64 "-%" SCNx64 " %*s %*s %*s %" SCNu64, &begin, &end,
                    &here) == 3 &&
        begin <= wanted && wanted < end) {
      inode = here;
    }
  }
  std::error_code error;
  for (const auto& open : std::filesystem::directory_iterator("/proc/self/fd", error)) {
    struct stat about;
    if (inode != 0 && stat(open.path().c_str(), &about) == 0 && about.st_ino == inode) {
      return static_cast<uint64_t>(about.st_blocks) * kBlockBytes;
    }
  }
  return 0;
}

}  // namespace spmv
