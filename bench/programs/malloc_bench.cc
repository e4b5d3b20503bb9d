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
  benchmark::RegisterBenchmark("fresh_memory", [](benchmark::State& state) {
    MallocHeap heap;
    RunFreshMemory(state, heap);
  });
  benchmark::Initialize(&argc, argv);
  if (benchmark::ReportUnrecognizedArguments(argc, argv)) return 2;
  benchmark::RunSpecifiedBenchmarks();
  return 0;
}
