/** Freed here and by another thread. */
#include <cstdlib>
#include <thread>

#include "misuse/misuse_case.h"

namespace hshm::misuse {

HSHM_MISUSE(malloc_freed_twice_by_thread, "DoubleFree: Free") {
  void* const block = Opaque(std::malloc(100));
  std::thread([&] { std::free(block); }).join();
  AtTheCall();
  std::free(block);
}

}  // namespace hshm::misuse
