/** A pointer into a block is reallocated. */
#include <cstdlib>

#include "misuse/misuse_case.h"

namespace hshm::misuse {

HSHM_MISUSE(malloc_realloc_inside, "InvalidFree: realloc") {
  char* const block = Opaque(static_cast<char*>(std::malloc(100)));
  AtTheCall();
  static_cast<void>(Opaque(std::realloc(block + 16, 200)));
}

}  // namespace hshm::misuse
