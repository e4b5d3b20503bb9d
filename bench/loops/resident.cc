#include "loops/resident.h"

#include <dirent.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <set>
#include <utility>

#include "loops/touch.h"

namespace hshm::bench {
namespace {

constexpr long kTmpfsMagic = 0x01021994;  // linux/magic.h: TMPFS_MAGIC, also of files in memory
constexpr uint64_t kStatBlockBytes = 512;

/** A line of /proc/self/status, such as "VmHWM: %llu kB". */
uint64_t StatusBytes(const char* format) {
  FILE* status = std::fopen("/proc/self/status", "r");
  if (status == nullptr) StopWith("/proc/self/status cannot be read");
  char line[256];
  unsigned long long kib = 0;
  while (std::fgets(line, sizeof(line), status) != nullptr) {
    if (std::sscanf(line, format, &kib) == 1) break;
  }
  std::fclose(status);
  return kib * 1024;
}

uint64_t OpenFilesInMemoryBytes() {
  DIR* folder = opendir("/proc/self/fd");
  if (folder == nullptr) StopWith("/proc/self/fd cannot be read");
  std::set<std::pair<dev_t, ino_t>> seen;
  uint64_t bytes = 0;
  while (const dirent* entry = readdir(folder)) {
    const int fd = std::atoi(entry->d_name);
    struct stat file {};
    struct statfs system {};
    if (entry->d_name[0] == '.' || fstat(fd, &file) != 0 || !S_ISREG(file.st_mode)) continue;
    if (fstatfs(fd, &system) != 0 || system.f_type != kTmpfsMagic) continue;
    if (!seen.insert({file.st_dev, file.st_ino}).second) continue;
    bytes += static_cast<uint64_t>(file.st_blocks) * kStatBlockBytes;
  }
  closedir(folder);
  return bytes;
}

}  // namespace

uint64_t HeapMemoryBytes() { return StatusBytes("RssAnon: %llu kB") + OpenFilesInMemoryBytes(); }

uint64_t PeakResidentBytes() { return StatusBytes("VmHWM: %llu kB"); }

}  // namespace hshm::bench
