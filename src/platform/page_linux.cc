#include "hermes_shm/platform/page.h"

#include <sys/mman.h>
#include <unistd.h>

#include <cerrno>

namespace hshm {

uint64_t SystemPageBytes() noexcept { return static_cast<uint64_t>(sysconf(_SC_PAGESIZE)); }

int FindPresentPages(const void* base, uint64_t count, unsigned char* is_present) noexcept {
  const uint64_t page_bytes = SystemPageBytes();
  auto* const first = static_cast<char*>(const_cast<void*>(base));  // nothing is written there
  if (mincore(first, count * page_bytes, is_present) != 0) return errno;
  for (uint64_t page = 0; page < count; ++page) is_present[page] &= 1;
  for (uint64_t page = 0; page < count;) {
    uint64_t run = page;
    while (run < count && is_present[run] != 0) ++run;
#ifdef MADV_POPULATE_READ
    // Refuses pages that have gone meanwhile, where reading a byte would be SIGBUS.
    if (run > page)
      madvise(first + page * page_bytes, (run - page) * page_bytes, MADV_POPULATE_READ);
#endif
    page = run + 1;
  }
  return 0;
}

}  // namespace hshm
