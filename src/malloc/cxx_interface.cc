/** operator new and delete in all their forms ([new.delete], C++20). */
#include <dlfcn.h>

#include <new>

#include "malloc/runtime.h"
#include "malloc/settings.h"

/**
 * The library may have a C++ runtime of its own inside, of which programs know nothing. What throws
 * and what handlers there are belongs to the program's runtime, so that is looked up when no memory
 * is left: std::get_new_handler, std::__throw_bad_alloc, and the nothrow forms, which call operator
 * new and catch what it throws.
 */
#define HSHM_OPERATOR __attribute__((visibility("default")))

namespace {

namespace library = hshm::malloc_library;

/** A function of the program's C++ runtime; null when it has none. */
template <typename Function>
Function FromRuntime(const char* symbol) noexcept {
  void* found = dlsym(RTLD_NEXT, symbol);
  if (found == nullptr) {
    void* const runtime = dlopen("libstdc++.so.6", RTLD_LAZY | RTLD_NOLOAD);
    if (runtime != nullptr) {
      found = dlsym(runtime, symbol);
      dlclose(runtime);  // it was there before and stays
    }
  }
  return reinterpret_cast<Function>(found);
}

/** [new.delete.single]: handlers are called until there is memory, or none is left. */
template <typename AllocateAgain>
__attribute__((noinline, cold)) void* AskHandlers(AllocateAgain allocate_again) {
  const auto get_handler = FromRuntime<void (*(*)())()>("_ZSt15get_new_handlerv");
  while (get_handler != nullptr) {
    void (*const handler)() = get_handler();
    if (handler == nullptr) break;
    handler();
    if (void* const block = allocate_again(); block != nullptr) return block;
  }
  const auto throw_bad_alloc = FromRuntime<void (*)()>("_ZSt17__throw_bad_allocv");
  if (throw_bad_alloc != nullptr) throw_bad_alloc();
  library::StopProgram("operator new: no memory is left, and no C++ runtime to throw bad_alloc.");
}

HSHM_INLINE void* New(size_t size) {
  void* const block = library::Allocate(size);
  if (HSHM_LIKELY(block != nullptr)) return block;
  return AskHandlers([size] { return library::Allocate(size); });
}

HSHM_INLINE void* NewAligned(size_t size, std::align_val_t alignment) {
  const auto bytes = static_cast<size_t>(alignment);
  void* const block = library::AllocateAligned(size, bytes);
  if (HSHM_LIKELY(block != nullptr)) return block;
  return AskHandlers([size, bytes] { return library::AllocateAligned(size, bytes); });
}

/** The runtime's own nothrow form calls ours that throws, with all that belongs to it. */
template <typename... Arguments>
__attribute__((noinline, cold)) void* AskHandlersQuietly(const char* symbol,
                                                         Arguments... arguments) noexcept {
  using Function = void* (*)(Arguments..., const std::nothrow_t&);
  const auto form = FromRuntime<Function>(symbol);
  return form != nullptr ? form(arguments..., std::nothrow) : nullptr;
}

HSHM_INLINE void* NewQuietly(size_t size, const char* symbol) noexcept {
  void* const block = library::Allocate(size);
  return HSHM_LIKELY(block != nullptr) ? block : AskHandlersQuietly(symbol, size);
}

HSHM_INLINE void* NewAlignedQuietly(size_t size, std::align_val_t alignment,
                                    const char* symbol) noexcept {
  void* const block = library::AllocateAligned(size, static_cast<size_t>(alignment));
  return HSHM_LIKELY(block != nullptr) ? block : AskHandlersQuietly(symbol, size, alignment);
}

}  // namespace

HSHM_OPERATOR void* operator new(size_t size) { return New(size); }
HSHM_OPERATOR void* operator new[](size_t size) { return New(size); }
HSHM_OPERATOR void* operator new(size_t size, const std::nothrow_t&) noexcept {
  return NewQuietly(size, "_ZnwmRKSt9nothrow_t");
}
HSHM_OPERATOR void* operator new[](size_t size, const std::nothrow_t&) noexcept {
  return NewQuietly(size, "_ZnamRKSt9nothrow_t");
}
HSHM_OPERATOR void* operator new(size_t size, std::align_val_t alignment) {
  return NewAligned(size, alignment);
}
HSHM_OPERATOR void* operator new[](size_t size, std::align_val_t alignment) {
  return NewAligned(size, alignment);
}
HSHM_OPERATOR void* operator new(size_t size, std::align_val_t alignment,
                                 const std::nothrow_t&) noexcept {
  return NewAlignedQuietly(size, alignment, "_ZnwmSt11align_val_tRKSt9nothrow_t");
}
HSHM_OPERATOR void* operator new[](size_t size, std::align_val_t alignment,
                                   const std::nothrow_t&) noexcept {
  return NewAlignedQuietly(size, alignment, "_ZnamSt11align_val_tRKSt9nothrow_t");
}

// Size and alignment say nothing that the block's page does not say: they are only compared.
HSHM_OPERATOR void operator delete(void* block) noexcept { library::Free(block); }
HSHM_OPERATOR void operator delete[](void* block) noexcept { library::Free(block); }
HSHM_OPERATOR void operator delete(void* block, size_t size) noexcept {
  library::FreeSized(block, size);
}
HSHM_OPERATOR void operator delete[](void* block, size_t size) noexcept {
  library::FreeSized(block, size);
}
HSHM_OPERATOR void operator delete(void* block, const std::nothrow_t&) noexcept {
  library::Free(block);
}
HSHM_OPERATOR void operator delete[](void* block, const std::nothrow_t&) noexcept {
  library::Free(block);
}
HSHM_OPERATOR void operator delete(void* block, std::align_val_t) noexcept { library::Free(block); }
HSHM_OPERATOR void operator delete[](void* block, std::align_val_t) noexcept {
  library::Free(block);
}
HSHM_OPERATOR void operator delete(void* block, size_t size, std::align_val_t alignment) noexcept {
  library::FreeSized(block, size, static_cast<size_t>(alignment));
}
HSHM_OPERATOR void operator delete[](void* block, size_t size,
                                     std::align_val_t alignment) noexcept {
  library::FreeSized(block, size, static_cast<size_t>(alignment));
}
HSHM_OPERATOR void operator delete(void* block, std::align_val_t, const std::nothrow_t&) noexcept {
  library::Free(block);
}
HSHM_OPERATOR void operator delete[](void* block, std::align_val_t,
                                     const std::nothrow_t&) noexcept {
  library::Free(block);
}
