#ifndef HSHM_BENCH_HEAPS_MALLOC_HEAP_H_
#define HSHM_BENCH_HEAPS_MALLOC_HEAP_H_

#include <cstddef>
#include <cstdint>
#include <cstdlib>

#include "loops/touch.h"

namespace hshm::bench {

/** malloc and free of whichever library the process runs on. */
class MallocHeap {
 public:
  using Block = void*;

  Block Allocate(size_t size_bytes) noexcept { return std::malloc(size_bytes); }
  void Free(Block block) noexcept { std::free(block); }
  static char* AddressOf(Block block) noexcept { return static_cast<char*>(block); }
  static uint64_t ToWord(Block block) noexcept { return reinterpret_cast<uint64_t>(block); }
  static Block FromWord(uint64_t word) noexcept { return reinterpret_cast<Block>(word); }
};
static_assert(Heap<MallocHeap>);

/** What its users share: nothing beyond the process. */
struct MallocSegment {
  using HeapType = MallocHeap;
  HeapType NewHeap() { return {}; }
};

}  // namespace hshm::bench

#endif  // HSHM_BENCH_HEAPS_MALLOC_HEAP_H_
