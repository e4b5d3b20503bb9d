/** A pointer into a block of posix_memalign. */
#include <unistd.h>
#include <cstdlib>

#include "misuse/misuse_case.h"

namespace hshm::misuse {

HSHM_MISUSE(malloc_freed_inside_aligned, "InvalidFree: Free") {
  void* block = nullptr;
  if (posix_memalign(&block, 4096, 8192) != 0) _exit(3);
  AtTheCall();
  std::free(Opaque(static_cast<char*>(block)) + 4096);
}

}  // namespace hshm::misuse
