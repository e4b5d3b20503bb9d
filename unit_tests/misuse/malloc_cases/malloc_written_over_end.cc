/** A write over the end of a block into its freed neighbour. */
#include <cstdlib>
#include <cstring>

#include "misuse/misuse_case.h"

namespace hshm::misuse {

HSHM_MISUSE(malloc_written_over_end, "Corruption: the link of a free block") {
  char* const block = Opaque(static_cast<char*>(std::malloc(112)));
  char* const neighbour = Opaque(static_cast<char*>(std::malloc(112)));
  std::free(neighbour);
  std::memset(neighbour < block ? neighbour : block, 'x', 120);
  AtTheCall();
  for (int i = 0; i < 10000; ++i) static_cast<void>(Opaque(std::malloc(112)));
}

}  // namespace hshm::misuse
