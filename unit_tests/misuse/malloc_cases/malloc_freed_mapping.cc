/** Memory of mmap. */
#include <sys/mman.h>
#include <cstdlib>

#include "misuse/misuse_case.h"

namespace hshm::misuse {

HSHM_MISUSE(malloc_freed_mapping, "ForeignPointer: free") {
  void* const memory =
      mmap(nullptr, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  AtTheCall();
  std::free(Opaque(memory));
}

}  // namespace hshm::misuse
