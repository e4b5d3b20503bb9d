#include "hermes_shm/platform/page.h"

#include <unistd.h>

namespace hshm {

uint64_t SystemPageBytes() noexcept { return static_cast<uint64_t>(sysconf(_SC_PAGESIZE)); }

}  // namespace hshm
