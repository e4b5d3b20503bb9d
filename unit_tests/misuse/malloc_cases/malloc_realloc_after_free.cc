/** A freed block is reallocated. */
#include <cstdlib>

#include "misuse/misuse_case.h"

namespace hshm::misuse {

HSHM_MISUSE(malloc_realloc_after_free, "DoubleFree: realloc") {
  void* const block = Opaque(std::malloc(100));
  std::free(block);
  AtTheCall();
  static_cast<void>(Opaque(std::realloc(block, 200)));
}

}  // namespace hshm::misuse
