/*
 * All loops on malloc and free. LD_PRELOAD chooses the library, so that one binary measures all.
 */
#include <benchmark/benchmark.h>

#include <memory>

#include "heaps/malloc_heap.h"
#include "loops/crew_loops.h"
#include "loops/fresh_memory.h"
#include "loops/single_loops.h"

int main(int argc, char** argv) {
  using namespace hshm::bench;
  RegisterSingleLoops("", [] { return MallocHeap(); });
  RegisterThreadLoops("", [] { return std::make_unique<MallocSegment>(); });
  const auto register_large_block = [](const char* name, int rounds_before) {
    return benchmark::RegisterBenchmark(name, [rounds_before](benchmark::State& state) {
      MallocHeap heap;
      RunLargeBlock(state, heap, rounds_before);
    });
  };
  register_large_block("block_32m", kRoundsBeforeKept);
  register_large_block("first_touch", 0)->Iterations(1);
  benchmark::Initialize(&argc, argv);
  if (benchmark::ReportUnrecognizedArguments(argc, argv)) return 2;
  benchmark::RunSpecifiedBenchmarks();
  return 0;
}
