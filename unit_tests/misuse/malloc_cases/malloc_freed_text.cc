/** A pointer to a function. */
#include <cstdlib>

#include "misuse/misuse_case.h"

namespace hshm::misuse {

HSHM_MISUSE(malloc_freed_text, "ForeignPointer: free") {
  AtTheCall();
  std::free(Opaque(reinterpret_cast<void*>(&AtTheCall)));
}

}  // namespace hshm::misuse
