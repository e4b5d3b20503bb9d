/*
 * Churn in a region of 1.3 times what is live: `heap_churn LIVE_MIB REPLACEMENTS SEED`; prints
 * JSON. At the end, with all blocks freed, the largest block that the region gives is looked for.
 */
#include <cinttypes>
#include <cstdio>

#include "heaps/hshm_heap.h"
#include "loops/churn.h"

namespace hshm::bench {
namespace {

constexpr uint64_t kCapacityTenths = 13;  // of what is live

/** Share of the capacity, in percent. */
uint64_t LargestBlockPercent(HshmHeap<Context::kDefault>& heap, uint64_t capacity_bytes) {
  for (uint64_t percent = 100; percent > 0; --percent) {
    const auto block = heap.Allocate(capacity_bytes / 100 * percent);
    if (block.IsNull()) continue;
    heap.Free(block);
    return percent;
  }
  return 0;
}

}  // namespace
}  // namespace hshm::bench

int main(int argc, char** argv) try {
  using namespace hshm::bench;
  ChurnOptions options;
  if (!ChurnOptions::Read(argc, argv, &options)) {
    std::fprintf(stderr, "heap_churn LIVE_MIB REPLACEMENTS SEED\n");
    return 2;
  }
  const uint64_t capacity_bytes = options.live_bytes_ / 10 * kCapacityTenths;
  HshmSegment segment(capacity_bytes);
  auto heap = segment.NewHeap();
  Churn<HshmSegment::HeapType> churn(heap, options);
  churn.Run();
  churn.FreeAll();
  std::printf(", \"largest_percent\": %" PRIu64 "}\n", LargestBlockPercent(heap, capacity_bytes));
  return 0;
} catch (const hshm::Error& error) {
  hshm::bench::StopWith(error.what());
}
