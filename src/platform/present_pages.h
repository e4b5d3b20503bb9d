#ifndef HSHM_SRC_PLATFORM_PRESENT_PAGES_H_
#define HSHM_SRC_PLATFORM_PRESENT_PAGES_H_

#include <algorithm>
#include <array>
#include <cstdint>
#include <string>

#include "hermes_shm/base/bits.h"
#include "hermes_shm/base/error.h"
#include "hermes_shm/platform/page.h"

namespace hshm {

/** Pages that are looked at together. */
inline constexpr uint64_t kPagesPerLook = 512;

/**
 * Calls visit(begin, size in bytes) for each run, of at most kPagesPerLook, of pages that the range
 * touches and that have memory. @return bytes of the other pages
 * @throws Error kSystem when a part of the range is not mapped
 */
template <typename Visit>
uint64_t VisitPresentRuns(const void* base, uint64_t size_bytes, Visit visit) {
  const uint64_t page_bytes = SystemPageBytes();
  const uint64_t before = reinterpret_cast<uintptr_t>(base) % page_bytes;
  const char* begin = static_cast<const char*>(base) - before;
  uint64_t pages = size_bytes == 0 ? 0 : bits::DivideUp(before + size_bytes, page_bytes);
  uint64_t absent = 0;
  std::array<unsigned char, kPagesPerLook> is_present;
  while (pages != 0) {
    const uint64_t look = std::min(pages, kPagesPerLook);
    if (const int error = FindPresentPages(begin, look, is_present.data()); error != 0) {
      throw Error(ErrorCode::kSystem,
                  "The system does not say which of " + std::to_string(look) +
                      " pages have memory: give a range that is mapped throughout.",
                  error);
    }
    for (uint64_t page = 0; page < look;) {
      uint64_t run = page;
      while (run < look && is_present[run] != 0) ++run;
      if (run > page) visit(begin + page * page_bytes, (run - page) * page_bytes);
      if (run < look) ++absent;
      page = run + 1;
    }
    begin += look * page_bytes;
    pages -= look;
  }
  return absent * page_bytes;
}

}  // namespace hshm

#endif  // HSHM_SRC_PLATFORM_PRESENT_PAGES_H_
