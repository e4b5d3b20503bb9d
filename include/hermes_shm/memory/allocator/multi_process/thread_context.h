#ifndef HSHM_MEMORY_ALLOCATOR_MULTI_PROCESS_THREAD_CONTEXT_H_
#define HSHM_MEMORY_ALLOCATOR_MULTI_PROCESS_THREAD_CONTEXT_H_

#include <array>
#include <cstdint>

#include "hermes_shm/base/macros.h"

namespace hshm::ipc::multi_process {

/**
 * The heap that this thread used last in an allocator, in front of the thread model's storage,
 * which alone would cost more than an allocation. An epoch names one attachment of one process and
 * is never given twice; 0 is that of a forked child and of a handle that is not attached.
 */
struct CachedHeap {
  uint64_t epoch_;
  void* heap_;
};

inline constexpr uint32_t kCachedHeaps = 8;
inline constexpr uint64_t kNoEpoch = 0;
inline constexpr uint64_t kUnusedEntry = ~uint64_t{0};  // no handle's, not even kNoEpoch

#if defined(__clang__)
#define HSHM_CONSTINIT constinit
#else
#define HSHM_CONSTINIT __constinit
#endif

/** Constant-initialised and of the initial-exec model: an access is one instruction. */
extern HSHM_API HSHM_CONSTINIT thread_local std::array<CachedHeap, kCachedHeaps> cached_heaps
    __attribute__((tls_model("initial-exec")));

}  // namespace hshm::ipc::multi_process

#endif  // HSHM_MEMORY_ALLOCATOR_MULTI_PROCESS_THREAD_CONTEXT_H_
