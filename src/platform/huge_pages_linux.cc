#include "hermes_shm/platform/huge_pages.h"

#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <initializer_list>
#include <string>
#include <string_view>

#include "platform/system_text.h"

#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE 23  // Linux 5.14
#endif
#ifndef MAP_HUGE_SHIFT
#define MAP_HUGE_SHIFT 26
#endif

namespace hshm {
namespace {

constexpr const char* kTransparent = "/sys/kernel/mm/transparent_hugepage/";
constexpr const char* kTransparentBytes = "/sys/kernel/mm/transparent_hugepage/hpage_pmd_size";
constexpr const char* kPools = "/sys/kernel/mm/hugepages/";

uint64_t NumberIn(const std::string& path, int* os_errno = nullptr) {
  const std::string content = SystemText(path, os_errno);
  std::string_view text = content;
  uint64_t number = 0;
  return TakeNumber(&text, &number) ? number : 0;
}

bool IsOneOf(std::string_view word, std::initializer_list<const char*> words) {
  return std::find(words.begin(), words.end(), word) != words.end();
}

uint64_t TransparentPageBytes(int* os_errno) {
  return std::bit_floor(NumberIn(kTransparentBytes, os_errno));
}

/** Gives huge pages to who asks if it has one of these values, and their size is known. */
void Judge(HugePageSetting* setting, std::initializer_list<const char*> giving) {
  int error = 0;
  if (!IsOneOf(setting->value_, giving)) return;
  setting->page_bytes_ = TransparentPageBytes(&error);
  setting->is_on_request_ = setting->page_bytes_ != 0;
  if (error == 0) return;
  setting->place_ = kTransparentBytes;
  setting->os_errno_ = error;
}

/** "always within_size [advise] never": the word in brackets. */
HugePageSetting ChosenIn(const std::string& path) {
  HugePageSetting setting;
  setting.place_ = path;
  const std::string content = SystemText(path, &setting.os_errno_);
  std::string_view text = content;
  for (std::string_view word; TakeWord(&text, &word);) {
    if (word.size() > 1 && word.front() == '[' && word.back() == ']') {
      setting.value_ = word.substr(1, word.size() - 2);
    }
  }
  return setting;
}

/** Fields of proc(5), mountinfo: number, parent, major:minor, ..., mount point, ..., "-", options.
 */
bool IsMountOf(std::string_view line, std::string_view device, std::string_view* place) {
  std::string_view number;
  std::string_view parent;
  std::string_view found;
  std::string_view root;
  return TakeWord(&line, &number) && TakeWord(&line, &parent) && TakeWord(&line, &found) &&
         TakeWord(&line, &root) && TakeWord(&line, place) && found == device;
}

/** "Key:   123 kB" of a smaps file that counts huge pages. */
bool IsHugeCount(std::string_view key) {
  return IsOneOf(key, {"AnonHugePages:", "ShmemPmdMapped:", "FilePmdMapped:", "Shared_Hugetlb:",
                       "Private_Hugetlb:"});
}

}  // namespace

uint64_t TransparentPageBytes() { return TransparentPageBytes(nullptr); }

HugePageSetting PrivateHugePageSetting() {
  HugePageSetting setting = ChosenIn(std::string(kTransparent) + "enabled");
  Judge(&setting, {"always", "madvise"});
  return setting;
}

HugePageSetting MemoryFileHugePageSetting() {
  HugePageSetting setting = ChosenIn(std::string(kTransparent) + "shmem_enabled");
  Judge(&setting, {"always", "within_size", "advise", "force"});
  return setting;
}

HugePageSetting MountHugePageSetting(int fd) {
  HugePageSetting setting;
  struct stat status = {};
  if (fstat(fd, &status) != 0) {
    setting.place_ = "The file";
    setting.os_errno_ = errno;
    return setting;
  }
  const std::string device =
      std::to_string(major(status.st_dev)) + ":" + std::to_string(minor(status.st_dev));
  const std::string content = SystemText("/proc/self/mountinfo", &setting.os_errno_);
  if (setting.os_errno_ != 0) {
    setting.place_ = "/proc/self/mountinfo";
    return setting;
  }
  std::string_view mounts = content;
  std::string_view place;
  for (std::string_view line; TakeLine(&mounts, &line);) {
    if (!IsMountOf(line, device, &place)) continue;
    setting.place_ = place;
    const size_t option = line.find("huge=", line.rfind(" - "));
    if (option != std::string_view::npos) {
      const size_t begin = option + std::strlen("huge=");
      setting.value_ = line.substr(begin, line.find_first_of(", ", begin) - begin);
    }
    break;
  }
  Judge(&setting, {"always", "within_size", "advise"});
  return setting;
}

int AskForHugePages(void* base, uint64_t size_bytes) noexcept {
  return madvise(base, size_bytes, MADV_HUGEPAGE) == 0 ? 0 : errno;
}

int PopulatePages(void* base, uint64_t size_bytes) noexcept {
  for (;;) {
    if (madvise(base, size_bytes, MADV_POPULATE_WRITE) == 0) return 0;
    if (errno != EINTR && errno != EAGAIN) return errno;
  }
}

uint64_t HugeBytesIn(const void* base, uint64_t size_bytes, int* os_errno) {
  const auto begin = reinterpret_cast<uintptr_t>(base);
  const std::string content = SystemText("/proc/self/smaps", os_errno);
  std::string_view mappings = content;
  bool is_inside = false;
  uint64_t bytes = 0;
  for (std::string_view line; TakeLine(&mappings, &line);) {
    unsigned long long from = 0;
    unsigned long long to = 0;
    std::string_view key;
    uint64_t kib = 0;
    if (std::sscanf(std::string(line).c_str(), "%llx-%llx ", &from, &to) == 2) {
      is_inside = from < begin + size_bytes && to > begin;
    } else if (is_inside && TakeWord(&line, &key) && IsHugeCount(key) && TakeNumber(&line, &kib)) {
      bytes += kib * 1024;
    }
  }
  return bytes;
}

uint64_t PoolPageBytes() {
  uint64_t smallest = 0;
  static_cast<void>(ForEachEntry(kPools, [&](const char* name) {
    unsigned long long kib = 0;
    if (std::sscanf(name, "hugepages-%llukB", &kib) != 1) return;
    if (smallest == 0 || kib * 1024 < smallest) smallest = kib * 1024;
  }));
  return smallest;
}

uint64_t FreePoolBytes(uint64_t page_bytes) {
  const std::string pool =
      std::string(kPools) + "hugepages-" + std::to_string(page_bytes / 1024) + "kB/";
  const uint64_t free_pages = NumberIn(pool + "free_hugepages");
  return (free_pages - std::min(free_pages, NumberIn(pool + "resv_hugepages"))) * page_bytes;
}

int MapPrivateFromPool(uint64_t size_bytes, uint64_t page_bytes, void** base) noexcept {
  const int size_flag = std::countr_zero(page_bytes) << MAP_HUGE_SHIFT;
  void* mapped = mmap(nullptr, size_bytes, PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS | MAP_HUGETLB | size_flag, -1, 0);
  if (mapped == MAP_FAILED) return errno;
  *base = mapped;
  return 0;
}

}  // namespace hshm
