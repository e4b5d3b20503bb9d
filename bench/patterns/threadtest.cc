/*
 * After Berger et al., "Hoard" (2000), threadtest: the threads share a number of blocks of one
 * size, each allocates its part and frees it again, many times.
 */
#include "patterns/pattern.h"

namespace hshm::bench {

void RunThreadtest(const PatternOptions& options) {
  constexpr uint32_t kBlocks = 100000;  // of all threads
  constexpr uint32_t kRounds = 30;
  constexpr size_t kBytes = 64;
  InThreads(options.threads_, [&](uint32_t) {
    std::vector<char*> blocks(kBlocks / options.threads_);
    for (uint32_t round = 0; round < kRounds * options.scale_; ++round) {
      for (char*& block : blocks) block = NewBlock(kBytes);
      for (char* block : blocks) std::free(block);
    }
  });
}

}  // namespace hshm::bench
