/** A pointer into a block. */
#include <cstdlib>

#include "misuse/misuse_case.h"

namespace hshm::misuse {

HSHM_MISUSE(malloc_freed_inside, "InvalidFree: Free") {
  char* const block = Opaque(static_cast<char*>(std::malloc(300)));
  AtTheCall();
  std::free(block + 32);
}

}  // namespace hshm::misuse
