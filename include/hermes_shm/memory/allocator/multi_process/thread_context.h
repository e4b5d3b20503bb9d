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
  void* front_;  // of the heap
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

/** The calling thread's entry that begins so many bytes into the table. */
HSHM_INLINE CachedHeap& CachedHeapAt(uint64_t offset) noexcept {
  return *reinterpret_cast<CachedHeap*>(reinterpret_cast<char*>(cached_heaps.data()) + offset);
}

/**
 * Which entry of each thread's table an attached handle uses: the lowest that no other handle of
 * this process has. When all are taken several handles share one, and a thread that uses them in
 * turn goes through the thread model's storage each time.
 */
class HSHM_API CacheEntryLease {
 public:
  CacheEntryLease() = default;
  ~CacheEntryLease() { GiveBack(); }
  CacheEntryLease(const CacheEntryLease&) = delete;
  CacheEntryLease& operator=(const CacheEntryLease&) = delete;

  /** Takes an entry, and gives back the one it had. @return bytes from the start of the table */
  uint64_t Take() noexcept;
  void GiveBack() noexcept;

 private:
  uint32_t bit_ = 0;  // in the mask of taken entries; 0: none
};

}  // namespace hshm::ipc::multi_process

#endif  // HSHM_MEMORY_ALLOCATOR_MULTI_PROCESS_THREAD_CONTEXT_H_
