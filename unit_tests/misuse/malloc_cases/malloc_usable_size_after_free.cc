/** The usable size of a freed block. */
#include <malloc.h>
#include <cstdlib>

#include "misuse/misuse_case.h"

namespace hshm::misuse {

HSHM_MISUSE(malloc_usable_size_after_free, "DoubleFree: malloc_usable_size") {
  void* const block = Opaque(std::malloc(100));
  std::free(block);
  AtTheCall();
  static_cast<void>(Opaque(malloc_usable_size(block)));
}

}  // namespace hshm::misuse
