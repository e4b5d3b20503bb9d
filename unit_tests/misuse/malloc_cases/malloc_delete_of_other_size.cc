/** An object is deleted as one of another type. */
#include <new>

#include "misuse/misuse_case.h"

namespace hshm::misuse {

HSHM_MISUSE(malloc_delete_of_other_size, "WrongSize: operator delete") {
  void* const block = Opaque(::operator new(100));
  AtTheCall();
  ::operator delete (block, size_t{200});
}

}  // namespace hshm::misuse
