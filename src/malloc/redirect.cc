/**
 * What the core and the C++ runtime inside of this library allocate, they have from OwnMemory: the
 * linker's --wrap (see CMakeLists.txt) makes each of their references to malloc, operator new and
 * kin one to the functions here. So no slow path of the heap ever calls the heap.
 *
 * Blocks may also come from the system's libraries, a shared C++ runtime among them, which call the
 * exported functions.
 */
#include <cstddef>
#include <cstring>
#include <new>

#include "malloc/own_memory.h"
#include "malloc/runtime.h"

namespace {

using hshm::malloc_library::own_memory;

void* New(size_t size, size_t alignment = alignof(max_align_t)) {
  void* const block = own_memory.Allocate(size, alignment);
  if (block == nullptr) throw std::bad_alloc();
  return block;
}

void Free(void* block) noexcept { hshm::malloc_library::Free(block); }

}  // namespace

extern "C" {

void* __wrap_malloc(size_t size) { return own_memory.Allocate(size); }
void __wrap_free(void* block) { Free(block); }
void* __wrap_calloc(size_t count, size_t size) {
  size_t bytes = 0;
  if (__builtin_mul_overflow(count, size, &bytes)) return nullptr;
  void* const block = own_memory.Allocate(bytes);
  if (block != nullptr) std::memset(block, 0, bytes);
  return block;
}
void* __wrap_realloc(void* block, size_t size) {
  return block == nullptr ? own_memory.Allocate(size)
                          : hshm::malloc_library::Reallocate(block, size);
}
void* __wrap_aligned_alloc(size_t alignment, size_t size) {
  return own_memory.Allocate(size, alignment);
}

// operator new, new[], with an alignment, nothrow
void* __wrap__Znwm(size_t size) { return New(size); }
void* __wrap__Znam(size_t size) { return New(size); }
void* __wrap__ZnwmSt11align_val_t(size_t size, size_t alignment) { return New(size, alignment); }
void* __wrap__ZnamSt11align_val_t(size_t size, size_t alignment) { return New(size, alignment); }
void* __wrap__ZnwmRKSt9nothrow_t(size_t size, const void*) { return own_memory.Allocate(size); }
void* __wrap__ZnamRKSt9nothrow_t(size_t size, const void*) { return own_memory.Allocate(size); }

// operator delete, delete[], with size, alignment, both
void __wrap__ZdlPv(void* block) { Free(block); }
void __wrap__ZdaPv(void* block) { Free(block); }
void __wrap__ZdlPvm(void* block, size_t) { Free(block); }
void __wrap__ZdaPvm(void* block, size_t) { Free(block); }
void __wrap__ZdlPvSt11align_val_t(void* block, size_t) { Free(block); }
void __wrap__ZdaPvSt11align_val_t(void* block, size_t) { Free(block); }
void __wrap__ZdlPvmSt11align_val_t(void* block, size_t, size_t) { Free(block); }
void __wrap__ZdaPvmSt11align_val_t(void* block, size_t, size_t) { Free(block); }
void __wrap__ZdlPvRKSt9nothrow_t(void* block, const void*) { Free(block); }
void __wrap__ZdaPvRKSt9nothrow_t(void* block, const void*) { Free(block); }

}  // extern "C"
