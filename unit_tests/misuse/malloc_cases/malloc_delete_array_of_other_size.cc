/** An array is deleted with a size that is too small. */
#include <new>

#include "misuse/misuse_case.h"

namespace hshm::misuse {

HSHM_MISUSE(malloc_delete_array_of_other_size, "WrongSize: operator delete") {
  void* const block = Opaque(::operator new[](1000));
  AtTheCall();
  ::operator delete[](block, size_t{100});
}

}  // namespace hshm::misuse
