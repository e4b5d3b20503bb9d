/** A block of 100 MB. */
#include <cstdlib>

#include "misuse/misuse_case.h"

namespace hshm::misuse {

HSHM_MISUSE(malloc_freed_twice_large, "DoubleFree: Free") {
  void* const block = Opaque(std::malloc(100'000'000));
  std::free(block);
  AtTheCall();
  std::free(block);
}

}  // namespace hshm::misuse
