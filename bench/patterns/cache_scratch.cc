/*
 * After Berger et al., "Hoard" (2000), cache-scratch: one thread allocates a small block for each
 * of the others; they free it and go on with blocks of their own, which they write many times. An
 * allocator that gives them parts of the same line makes them wait for each other.
 */
#include "patterns/pattern.h"

namespace hshm::bench {

void RunCacheScratch(const PatternOptions& options) {
  constexpr uint32_t kRounds = 2000;   // of each thread
  constexpr uint32_t kWrites = 20000;  // of each block's bytes, in all
  constexpr size_t kBytes = 8;
  std::vector<char*> first(options.threads_);
  for (char*& block : first) block = NewBlock(kBytes);
  InThreads(options.threads_, [&](uint32_t index) {
    std::free(first[index]);
    for (uint32_t round = 0; round < kRounds * options.scale_; ++round) {
      volatile char* block = NewBlock(kBytes);
      for (uint32_t i = 0; i < kWrites / kBytes; ++i) {
        for (size_t at = 0; at < kBytes; ++at) block[at] = static_cast<char>(block[at] + 1);
      }
      std::free(const_cast<char*>(block));
    }
  });
}

}  // namespace hshm::bench
