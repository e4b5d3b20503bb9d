/** A pointer to a static variable. */
#include <cstdlib>

#include "misuse/misuse_case.h"

namespace hshm::misuse {

HSHM_MISUSE(malloc_freed_static, "ForeignPointer: free") {
  static int variable = 0;
  AtTheCall();
  std::free(Opaque(&variable));
}

}  // namespace hshm::misuse
