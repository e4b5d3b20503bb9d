/** An aligned object is deleted with another size. */
#include <new>

#include "misuse/misuse_case.h"

namespace hshm::misuse {

HSHM_MISUSE(malloc_delete_of_other_alignment, "WrongSize: operator delete") {
  void* const block = Opaque(::operator new (64, std::align_val_t{64}));
  AtTheCall();
  ::operator delete (block, size_t{256}, std::align_val_t{64});
}

}  // namespace hshm::misuse
