/** The old block is reallocated again. */
#include <cstdlib>

#include "misuse/misuse_case.h"

namespace hshm::misuse {

HSHM_MISUSE(malloc_realloc_twice, "DoubleFree: realloc") {
  void* const block = Opaque(std::malloc(100));
  static_cast<void>(Opaque(std::realloc(block, 5000)));
  AtTheCall();
  static_cast<void>(Opaque(std::realloc(block, 5000)));
}

}  // namespace hshm::misuse
