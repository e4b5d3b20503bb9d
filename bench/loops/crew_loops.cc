#include "loops/crew_loops.h"

#include <cstdlib>

namespace hshm::bench {

std::vector<uint32_t> CrewSizes() {
  const uint32_t cores = std::clamp(std::thread::hardware_concurrency(), 2u, kMaxMembers);
  std::vector<uint32_t> sizes;
  for (uint32_t size = 1; size < cores; size *= 2) sizes.push_back(size);
  sizes.push_back(cores);
  return sizes;
}

std::vector<CrewLoop> CrewLoops(const std::string& kind) {
  std::vector<CrewLoop> loops;
  for (const uint32_t size : CrewSizes()) {
    const std::string end = "/" + kind + ":" + std::to_string(size);
    loops.push_back({"random" + end, Job::kRandom, size});
    loops.push_back({"batch_64" + end, Job::kBatch, size});
    loops.push_back({"larson" + end, Job::kLarson, size});
  }
  loops.push_back({"hand_off/" + kind + ":2", Job::kHandOff, 2});
  loops.push_back({"pipeline/" + kind + ":2", Job::kPipeline, 2});
  return loops;
}

uint64_t CrewOps() {
  const char* ops = std::getenv("HSHM_BENCH_CREW_OPS");
  return ops != nullptr ? std::strtoull(ops, nullptr, 10) : 200000;
}

}  // namespace hshm::bench
