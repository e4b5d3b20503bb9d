#ifndef HSHM_BENCH_LOOPS_SINGLE_LOOPS_H_
#define HSHM_BENCH_LOOPS_SINGLE_LOOPS_H_

#include <benchmark/benchmark.h>

#include <algorithm>
#include <cstddef>
#include <string>
#include <utility>
#include <vector>

#include "loops/random.h"
#include "loops/resident.h"
#include "loops/touch.h"

/** The loops of one thread. */
namespace hshm::bench {

inline constexpr size_t kBatchBlocks = 1000;
inline constexpr size_t kBatchBytes = 64;
inline constexpr uint32_t kRandomLive = 10000;
inline constexpr uint32_t kLargeLive = 200;  // of 16 to 64 KiB, and of 16 B to 1 MiB
inline constexpr uint64_t kSeed = 42;
// Replacements that are not timed: of each live block, and in all. A segment is new in each trial,
// while a malloc has its memory from the one before.
inline constexpr uint32_t kWarmUpRounds = 20;
inline constexpr uint32_t kWarmUpReplacements = 200'000;

inline Sizes RandomSizes(uint64_t seed) { return Sizes::Uniform(16, 1024, seed); }

/** What the driver needs beside the time: pairs in an iteration, and the peak memory. */
inline void Report(benchmark::State& state, double ops) {
  state.counters["ops"] = ops;
  state.counters["peak_bytes"] = static_cast<double>(PeakResidentBytes());
}

/** The block that was freed last is wanted next. */
template <Heap H>
void RunPairs(benchmark::State& state, H& heap, size_t size_bytes) {
  for (auto _ : state) {
    const auto block = heap.Allocate(size_bytes);
    Touch(heap, block);
    heap.Free(block);
  }
  Report(state, 1);
}

/** Allocates `blocks` and frees them in the same order. */
template <Heap H>
inline void Batch(H& heap, std::vector<typename H::Block>& blocks) {
  for (auto& block : blocks) {
    block = heap.Allocate(kBatchBytes);
    Touch(heap, block);
  }
  for (auto& block : blocks) heap.Free(block);
}

template <Heap H>
void RunBatches(benchmark::State& state, H& heap) {
  std::vector<typename H::Block> blocks(kBatchBlocks);
  for (auto _ : state) Batch(heap, blocks);
  Report(state, kBatchBlocks);
}

/** Blocks of which one, chosen by chance, is replaced at a time. */
template <Heap H>
class LiveBlocks {
 public:
  LiveBlocks(H& heap, uint32_t count, Sizes sizes, uint64_t seed)
      : heap_(heap), sizes_(std::move(sizes)), random_(seed), blocks_(count) {
    for (auto& block : blocks_) block = Make();
  }
  LiveBlocks(const LiveBlocks&) = delete;
  LiveBlocks& operator=(const LiveBlocks&) = delete;
  ~LiveBlocks() {
    for (auto& block : blocks_) heap_.Free(block);
  }

  // In line, whatever the heap: called, the state of the generator and a block of several words
  // would go through memory between replacements, which costs half as much as the allocator does.
  [[gnu::always_inline]] void Replace() {
    auto& block = blocks_[random_.Below(static_cast<uint32_t>(blocks_.size()))];
    heap_.Free(block);
    block = Make();
  }

 private:
  [[gnu::always_inline]] typename H::Block Make() {
    const auto block = heap_.Allocate(sizes_.At(random_.Next()));
    Touch(heap_, block);
    return block;
  }

  H& heap_;
  const Sizes sizes_;
  Random random_;
  std::vector<typename H::Block> blocks_;
};

template <Heap H>
void RunReplacements(benchmark::State& state, H& heap, uint32_t live, const Sizes& sizes) {
  LiveBlocks<H> blocks(heap, live, sizes, kSeed);
  // Until the heap has the memory that it goes on with: what that costs is measured by itself.
  const uint32_t warm_up = std::max(kWarmUpRounds * live, kWarmUpReplacements);
  for (uint32_t i = 0; i < warm_up; ++i) blocks.Replace();
  for (auto _ : state) blocks.Replace();
  Report(state, 1);
}

/** A program that has one block of each of many sizes, and works with them: how long a touch takes
 * is decided by where the allocator put them. Sizes up to 8 KiB, in steps of an eighth. */
template <Heap H>
void RunOnlyBlocks(benchmark::State& state, H& heap) {
  std::vector<typename H::Block> blocks;
  for (size_t size = 16, step = 16; size <= 8192; size += step) {
    blocks.push_back(heap.Allocate(size));
    Touch(heap, blocks.back());
    if (size >= 256 && (size & (size - 1)) == 0) step = size / 8;
  }
  for (auto _ : state) {
    for (const auto& block : blocks) {
      volatile char* const address = heap.AddressOf(block);
      *address = static_cast<char>(*address + 1);
    }
  }
  Report(state, static_cast<double>(blocks.size()));
  for (const auto& block : blocks) heap.Free(block);
}

/** The seven loops, under `prefix`. `make` returns the heap; it is called when the loop runs. */
template <typename Make>
void RegisterSingleLoops(const std::string& prefix, Make make) {
  const auto add = [&](const char* name, auto run) {
    benchmark::RegisterBenchmark((prefix + name).c_str(), [make, run](benchmark::State& state) {
      auto heap = make();
      run(state, heap);
    });
  };
  add("pair_16", [](auto& state, auto& heap) { RunPairs(state, heap, 16); });
  add("pair_256", [](auto& state, auto& heap) { RunPairs(state, heap, 256); });
  add("batch_64", [](auto& state, auto& heap) { RunBatches(state, heap); });
  add("random", [](auto& state, auto& heap) {
    RunReplacements(state, heap, kRandomLive, RandomSizes(kSeed));
  });
  add("only_blocks", [](auto& state, auto& heap) { RunOnlyBlocks(state, heap); });
  add("16k_64k", [](auto& state, auto& heap) {
    RunReplacements(state, heap, kLargeLive, Sizes::Uniform(16 << 10, 64 << 10, kSeed));
  });
  add("log_uniform", [](auto& state, auto& heap) {
    RunReplacements(state, heap, kLargeLive, Sizes::LogUniform(16, 1 << 20, kSeed));
  });
}

}  // namespace hshm::bench

#endif  // HSHM_BENCH_LOOPS_SINGLE_LOOPS_H_
