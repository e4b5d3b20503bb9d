/** A pointer to a variable. */
#include <cstdlib>

#include "misuse/misuse_case.h"

namespace hshm::misuse {

HSHM_MISUSE(malloc_freed_stack, "ForeignPointer: free") {
  int variable = 0;
  AtTheCall();
  std::free(Opaque(&variable));
}

}  // namespace hshm::misuse
