/** An object is deleted twice, with its size. */
#include <new>

#include "misuse/misuse_case.h"

namespace hshm::misuse {

HSHM_MISUSE(malloc_deleted_twice, "DoubleFree: operator delete") {
  void* const block = Opaque(::operator new(100));
  ::operator delete (block, size_t{100});
  AtTheCall();
  ::operator delete (block, size_t{100});
}

}  // namespace hshm::misuse
