/** A freed block was written to. */
#include <cstdlib>
#include <cstring>

#include "misuse/misuse_case.h"

namespace hshm::misuse {

HSHM_MISUSE(malloc_written_after_free, "Corruption: the link of a free block") {
  char* const block = Opaque(static_cast<char*>(std::malloc(100)));
  std::free(block);
  std::memset(block, 'x', 8);
  AtTheCall();
  for (int i = 0; i < 10000; ++i) static_cast<void>(Opaque(std::malloc(100)));
}

}  // namespace hshm::misuse
