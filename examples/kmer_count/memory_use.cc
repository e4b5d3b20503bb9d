#include "memory_use.h"

#include <sys/stat.h>
#include <sys/sysmacros.h>

#include <cinttypes>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <string>

namespace kmer_count {
namespace {

struct FileId {
  dev_t device_ = 0;
  ino_t inode_ = 0;
  friend bool operator==(const FileId&, const FileId&) = default;
};

/** Which file is mapped at an address; inode 0 when none is. */
FileId FileMappedAt(uint64_t address) {
  std::ifstream maps("/proc/self/maps");
  for (std::string line; std::getline(maps, line);) {
    uint64_t begin = 0;
    uint64_t end = 0;
    unsigned device_major = 0;
    unsigned device_minor = 0;
    uint64_t inode = 0;
    const int fields = std::sscanf(line.c_str(), "%" SCNx64 "-%" SCNx64 " %*s %*s %x:%x %" SCNu64,
                                   &begin, &end, &device_major, &device_minor, &inode);
    if (fields == 5 && begin <= address && address < end) {
      return {makedev(device_major, device_minor), inode};
    }
  }
  return {};
}

}  // namespace

uint64_t PrivateBytes() {
  std::ifstream rollup("/proc/self/smaps_rollup");
  for (std::string word; rollup >> word;) {
    uint64_t kib = 0;
    if (word == "Anonymous:" && rollup >> kib) return kib * 1024;
  }
  return 0;
}

uint64_t SegmentBytes(const void* address) {
  constexpr uint64_t kBlockBytes = 512;  // the unit of st_blocks
  const FileId mapped = FileMappedAt(reinterpret_cast<uint64_t>(address));
  std::error_code error;
  for (const auto& entry : std::filesystem::directory_iterator("/proc/self/fd", error)) {
    struct stat about;
    if (stat(entry.path().c_str(), &about) != 0) continue;
    if (mapped.inode_ != 0 && FileId{about.st_dev, about.st_ino} == mapped) {
      return static_cast<uint64_t>(about.st_blocks) * kBlockBytes;
    }
  }
  return 0;
}

}  // namespace kmer_count
