/** A block of calloc. */
#include <cstdlib>

#include "misuse/misuse_case.h"

namespace hshm::misuse {

HSHM_MISUSE(malloc_freed_twice_calloc, "DoubleFree: Free") {
  void* const block = Opaque(std::calloc(10, 1000));
  std::free(block);
  AtTheCall();
  std::free(block);
}

}  // namespace hshm::misuse
