#ifndef HSHM_BENCH_LOOPS_FRESH_MEMORY_H_
#define HSHM_BENCH_LOOPS_FRESH_MEMORY_H_

#include <benchmark/benchmark.h>

#include <cstddef>

#include "loops/touch.h"

namespace hshm::bench {

inline constexpr size_t kFreshBytes = size_t{32} << 20;
inline constexpr int kRoundsBeforeKept = 4;  // an allocator may see that it is wanted again

template <Heap H>
void TouchLargeBlock(H& heap) {
  const auto block = heap.Allocate(kFreshBytes);
  TouchPages(heap, block, kFreshBytes);
  heap.Free(block);
}

/**
 * A large block, a byte of each 4 KiB written, and freed. An `op` is 4 KiB. With one iteration in a
 * new process it is what fresh memory costs; after others, what keeping it saves.
 */
template <Heap H>
void RunLargeBlock(benchmark::State& state, H& heap, int rounds_before) {
  for (int i = 0; i < rounds_before; ++i) TouchLargeBlock(heap);
  for (auto _ : state) TouchLargeBlock(heap);
  state.counters["ops"] = static_cast<double>(kFreshBytes / kTouchStride);
}

}  // namespace hshm::bench

#endif  // HSHM_BENCH_LOOPS_FRESH_MEMORY_H_
