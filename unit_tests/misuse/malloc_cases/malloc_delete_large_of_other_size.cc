/** A block of 3 MB is deleted as one of 1 MB. */
#include <new>

#include "misuse/misuse_case.h"

namespace hshm::misuse {

HSHM_MISUSE(malloc_delete_large_of_other_size, "WrongSize: operator delete") {
  void* const block = Opaque(::operator new(3'000'000));
  AtTheCall();
  ::operator delete (block, size_t{1'000'000});
}

}  // namespace hshm::misuse
