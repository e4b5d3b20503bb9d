#ifndef HSHM_BENCH_HEAPS_HSHM_HEAP_H_
#define HSHM_BENCH_HEAPS_HSHM_HEAP_H_

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>

#include "hermes_shm/memory/allocator/multi_process_allocator.h"
#include "hermes_shm/memory/backend/posix_shm_mmap.h"
#include "loops/touch.h"

namespace hshm::bench {

enum class Context { kDefault, kExplicit };

/** A MultiProcessAllocator through Allocate and Free, of one thread. */
template <Context kContext>
class HshmHeap {
 public:
  using Block = hipc::FullPtr<char>;

  explicit HshmHeap(hipc::MultiProcessAllocator* alloc) : alloc_(alloc) {
    if constexpr (kContext == Context::kExplicit) ctx_ = alloc->CreateTls(hipc::MemContext());
  }

  // Inline, as the calls in a user's loop are.
  HSHM_INLINE Block Allocate(size_t size_bytes) noexcept {
    return alloc_->Allocate<char>(Ctx(), size_bytes);
  }
  HSHM_INLINE void Free(const Block& block) noexcept { alloc_->Free(Ctx(), block); }
  static char* AddressOf(const Block& block) noexcept { return block.ptr_; }
  static uint64_t ToWord(const Block& block) noexcept { return block.shm_.off_.load(); }
  Block FromWord(uint64_t word) const noexcept { return Block(alloc_, word); }

 private:
  HSHM_INLINE hipc::MemContext Ctx() const noexcept {
    if constexpr (kContext == Context::kExplicit) return ctx_;
    return HSHM_DEFAULT_MEM_CTX;
  }

  hipc::MultiProcessAllocator* alloc_;
  hipc::MemContext ctx_;
};
static_assert(Heap<HshmHeap<Context::kDefault>>);

/** Three allocators in turn, so that no look-up finds what the last one left. */
class ThreeHshmHeaps {
 public:
  using One = HshmHeap<Context::kDefault>;
  struct Block {
    One::Block block_;
    uint32_t heap_ = 0;
  };

  explicit ThreeHshmHeaps(const std::array<hipc::MultiProcessAllocator*, 3>& allocs)
      : heaps_{One(allocs[0]), One(allocs[1]), One(allocs[2])} {}

  HSHM_INLINE Block Allocate(size_t size_bytes) noexcept {
    turn_ = turn_ == 2 ? 0 : turn_ + 1;
    return {heaps_[turn_].Allocate(size_bytes), turn_};
  }
  HSHM_INLINE void Free(const Block& block) noexcept { heaps_[block.heap_].Free(block.block_); }
  static char* AddressOf(const Block& block) noexcept { return block.block_.ptr_; }
  /** Offsets are far below 2^60. */
  static uint64_t ToWord(const Block& block) noexcept {
    return One::ToWord(block.block_) | uint64_t{block.heap_} << 60;
  }
  Block FromWord(uint64_t word) const noexcept {
    const auto heap = static_cast<uint32_t>(word >> 60);
    return {heaps_[heap].FromWord(word & ((uint64_t{1} << 60) - 1)), heap};
  }

 private:
  std::array<One, 3> heaps_;
  uint32_t turn_ = 0;
};
static_assert(Heap<ThreeHshmHeaps>);

/** A segment without a name, so that nothing is left of it, with an allocator. */
class HshmSegment {
 public:
  using HeapType = HshmHeap<Context::kDefault>;
  static constexpr size_t kCapacityBytes = size_t{1} << 30;

  explicit HshmSegment(size_t capacity_bytes = kCapacityBytes) {
    hipc::PosixShmOptions options;
    options.naming_ = hipc::Naming::kUnnamed;
    backend_.shm_init(hipc::MemoryBackendId(1), capacity_bytes, "hshm-bench", options);
    alloc_ = backend_.MakeAlloc<hipc::MultiProcessAllocator>(hipc::AllocatorId(1, 0));
  }
  /** Joins the segment of another process. */
  explicit HshmSegment(const std::string& url) {
    backend_.shm_attach(url);
    alloc_ = backend_.AttachAlloc<hipc::MultiProcessAllocator>();
  }

  HeapType NewHeap() { return HeapType(alloc_); }
  std::string Url() const { return backend_.GetUrl(); }
  hipc::MultiProcessAllocator* alloc() const noexcept { return alloc_; }

 private:
  hipc::PosixShmMmap backend_;
  hipc::MultiProcessAllocator* alloc_ = nullptr;
};

}  // namespace hshm::bench

#endif  // HSHM_BENCH_HEAPS_HSHM_HEAP_H_
