/** A small block, freed twice. */
#include <cstdlib>

#include "misuse/misuse_case.h"

namespace hshm::misuse {

HSHM_MISUSE(malloc_freed_twice, "DoubleFree: Free") {
  void* const block = Opaque(std::malloc(100));
  std::free(block);
  AtTheCall();
  std::free(block);
}

}  // namespace hshm::misuse
