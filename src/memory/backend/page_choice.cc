#include "memory/backend/page_choice.h"

#include <cerrno>

#include "hermes_shm/base/bits.h"
#include "hermes_shm/base/error.h"
#include "hermes_shm/platform/huge_pages.h"
#include "hermes_shm/platform/page.h"
#include "hermes_shm/platform/shared_memory.h"
#include "memory/backend/file_error.h"

namespace hshm::ipc {
namespace {

constexpr const char* kNotAskedFor =
    "Huge pages were not asked for: set huge_pages_ in the options of the creator.";

/** The system's usual pages, and why. @throws Error kUnsupported when huge ones are required */
PageReport UsualPages(HugePages asked, const std::string& name, const std::string& why_not,
                      int os_errno = 0) {
  if (asked == HugePages::kRequire) {
    throw Error(ErrorCode::kUnsupported, "Huge pages were required for " + name + ". " + why_not,
                os_errno);
  }
  return {PageKind::kSystem, SystemPageBytes(), 0, why_not};
}

/** @throws Error */
uint64_t RequireFilePageBytes(int fd, const std::string& name) {
  uint64_t page_bytes = 0;
  const int error = FilePageBytes(fd, &page_bytes);
  if (error != 0) throw FileError("Looking at the file system of " + name, error);
  return page_bytes;
}

PageReport TransparentPages(uint64_t page_bytes) {
  return {PageKind::kTransparentHuge, page_bytes, 0, ""};
}

std::string NotTold(const HugePageSetting& setting) {
  return "Whether the system gives any is not known: " + setting.place_ + " cannot be read.";
}

bool IsTold(const HugePageSetting& setting) {
  const bool is_not_there = setting.os_errno_ == ENOENT && setting.value_.empty();
  return setting.os_errno_ == 0 || is_not_there;
}

std::string WhyNotInMemoryFile(const HugePageSetting& setting) {
  if (!IsTold(setting)) return NotTold(setting);
  if (setting.value_.empty()) return "This system has no transparent huge pages.";
  return "The system gives files in memory none (" + setting.place_ + " says " + setting.value_ +
         "): write advise to it.";
}

std::string WhyNotOnMount(const HugePageSetting& setting) {
  if (setting.os_errno_ != 0) return NotTold(setting);
  return "The file system at " + setting.place_ + " gives none (it is mounted " +
         (setting.value_.empty() ? "without huge=" : "with huge=" + setting.value_) +
         "): use a tmpfs mounted with huge=advise or a hugetlbfs, for shared memory by way of "
         "HSHM_SHM_DIR, or a segment without a name (naming_ = kUnnamed).";
}

std::string WhyNotPrivate(const HugePageSetting& setting, uint64_t size_bytes) {
  if (!IsTold(setting)) return NotTold(setting);
  std::string text = setting.value_.empty()
                         ? "This system has no transparent huge pages"
                         : "The system gives private memory no transparent ones (" +
                               setting.place_ + " says " + setting.value_ + ")";
  return text + ", and its pool has no " + std::to_string(size_bytes) +
         " bytes free: write madvise to the setting, or a number to /proc/sys/vm/nr_hugepages.";
}

}  // namespace

PageReport ChooseFilePages(HugePages asked, int fd, bool is_memory_file, const std::string& name) {
  const uint64_t file_page_bytes = RequireFilePageBytes(fd, name);
  if (file_page_bytes > SystemPageBytes()) return {PageKind::kHugePool, file_page_bytes, 0, ""};
  if (asked == HugePages::kNever) return UsualPages(asked, name, kNotAskedFor);
  const HugePageSetting setting =
      is_memory_file ? MemoryFileHugePageSetting() : MountHugePageSetting(fd);
  if (setting.is_on_request_) return TransparentPages(setting.page_bytes_);
  return UsualPages(asked, name,
                    is_memory_file ? WhyNotInMemoryFile(setting) : WhyNotOnMount(setting),
                    setting.os_errno_);
}

PageReport FoundFilePages(bool is_transparent, int fd, const std::string& name) {
  const uint64_t file_page_bytes = RequireFilePageBytes(fd, name);
  if (file_page_bytes > SystemPageBytes()) return {PageKind::kHugePool, file_page_bytes, 0, ""};
  const uint64_t transparent_bytes = is_transparent ? TransparentPageBytes() : 0;
  if (transparent_bytes != 0) return TransparentPages(transparent_bytes);
  return {PageKind::kSystem, SystemPageBytes(), 0,
          "The creator of the segment did not ask for huge pages, or got none: see its report."};
}

PageReport ChoosePrivatePages(HugePages asked, uint64_t size_bytes) {
  if (asked == HugePages::kNever) return UsualPages(asked, "private memory", kNotAskedFor);
  const HugePageSetting setting = PrivateHugePageSetting();
  // Who requires them gets those that are sure; else nobody's pool is emptied by the way.
  if (asked == HugePages::kAdvise && setting.is_on_request_) {
    return TransparentPages(setting.page_bytes_);
  }
  const uint64_t page_bytes = PoolPageBytes();
  if (page_bytes != 0 && FreePoolBytes(page_bytes) >= bits::AlignUp(size_bytes, page_bytes)) {
    return {PageKind::kHugePool, page_bytes, 0, ""};
  }
  if (setting.is_on_request_) return TransparentPages(setting.page_bytes_);
  return UsualPages(asked, "private memory", WhyNotPrivate(setting, size_bytes), setting.os_errno_);
}

void CheckFirstHugePage(HugePages asked, void* base, uint64_t page_bytes, const std::string& name) {
  if (asked != HugePages::kRequire) return;
  int error = PopulatePages(base, page_bytes);
  if (error == 0 && HugeBytesIn(base, page_bytes, &error) > 0) return;
  if (error != 0 && error != EFAULT && error != ENOMEM) {
    throw Error(ErrorCode::kSystem,
                "Huge pages were required for " + name +
                    ", and whether it has them could not be found out: see the system's reason.",
                error);
  }
  throw Error(ErrorCode::kNoSpace,
              "Huge pages were required for " + name + " and no free one was there for its first " +
                  std::to_string(page_bytes) +
                  " bytes: memory is in pieces; write 1 to /proc/sys/vm/compact_memory, or do "
                  "with huge_pages_ = kAdvise.");
}

}  // namespace hshm::ipc
