/** What strdup has made. */
#include <cstdlib>
#include <cstring>

#include "misuse/misuse_case.h"

namespace hshm::misuse {

HSHM_MISUSE(malloc_freed_twice_string, "DoubleFree: Free") {
  char* const text = Opaque(strdup("text"));
  std::free(text);
  AtTheCall();
  std::free(text);
}

}  // namespace hshm::misuse
