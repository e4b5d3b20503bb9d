/*
 * The loops of malloc_pair on shared memory, for counting instructions:
 * `heap_pair pair|random default|explicit|three|boost ITERATIONS`.
 *
 * In `three` each allocator has a third of the pairs, in turn.
 */
#include <array>
#include <cstdio>
#include <cstdlib>
#include <string_view>
#include <vector>

#include "heaps/hshm_heap.h"
#include "hermes_shm/base/macros.h"
#include "loops/random.h"
#include "loops/touch.h"
#if HSHM_BENCH_HAVE_BOOST
#include "heaps/boost_heap.h"
#endif

namespace hshm::bench {
namespace {

constexpr uint32_t kLiveBlocks = 10000;
constexpr size_t kPairBytes = 16;

template <Heap H>
HSHM_INLINE void Pair(H& heap) {
  const auto block = heap.Allocate(kPairBytes);
  *static_cast<volatile char*>(heap.AddressOf(block)) = 1;
  heap.Free(block);
}

/** A function of its own, as a user's loop is. */
template <Heap H>
HSHM_NOINLINE void RunPairs(H heap, long iterations) {
  for (long i = 0; i < iterations; ++i) Pair(heap);
}

template <Heap H>
HSHM_NOINLINE void RunRandom(H heap, long iterations) {
  Random random(42);
  std::vector<typename H::Block> blocks(kLiveBlocks);
  for (auto& block : blocks) block = heap.Allocate(kPairBytes);
  for (long i = 0; i < iterations; ++i) {
    const uint64_t number = random.Next();
    auto& block = blocks[number % kLiveBlocks];
    heap.Free(block);
    block = heap.Allocate(16 + (number >> 32) % 1009);
    *static_cast<volatile char*>(heap.AddressOf(block)) = 1;
  }
}

template <Heap H>
void Run(std::string_view loop, H heap, long iterations) {
  if (loop == "random") {
    RunRandom(std::move(heap), iterations);
  } else {
    RunPairs(std::move(heap), iterations);
  }
}

/** The pairs one after the other, so that taking turns costs the loop nothing. */
void RunThreePairs(const std::array<HshmSegment, 3>& segments, long iterations) {
  HshmHeap<Context::kDefault> first(segments[0].alloc());
  HshmHeap<Context::kDefault> second(segments[1].alloc());
  HshmHeap<Context::kDefault> third(segments[2].alloc());
  for (long i = 0; i < iterations; i += 3) {
    Pair(first);
    Pair(second);
    Pair(third);
  }
}

void RunThree(std::string_view loop, long iterations) {
  const std::array<HshmSegment, 3> segments;
  if (loop == "pair") return RunThreePairs(segments, iterations);
  RunRandom(ThreeHshmHeaps({segments[0].alloc(), segments[1].alloc(), segments[2].alloc()}),
            iterations);
}

bool RunNamed(std::string_view loop, std::string_view heap, long iterations) {
  if (loop != "pair" && loop != "random") return false;
  if (heap == "three") return RunThree(loop, iterations), true;
#if HSHM_BENCH_HAVE_BOOST
  if (heap == "boost") {
    BoostSegment segment;
    return Run(loop, segment.NewHeap(), iterations), true;
  }
#endif
  const HshmSegment segment;
  if (heap == "default") {
    Run(loop, HshmHeap<Context::kDefault>(segment.alloc()), iterations);
  } else if (heap == "explicit") {
    Run(loop, HshmHeap<Context::kExplicit>(segment.alloc()), iterations);
  } else {
    return false;
  }
  return true;
}

}  // namespace
}  // namespace hshm::bench

int main(int argc, char** argv) try {
  if (argc == 4 && hshm::bench::RunNamed(argv[1], argv[2], std::atol(argv[3]))) return 0;
  std::fprintf(stderr, "heap_pair pair|random default|explicit|three|boost ITERATIONS\n");
  return 2;
} catch (const hshm::Error& error) {
  hshm::bench::StopWith(error.what());
}
