#ifndef HSHM_BENCH_PATTERNS_PATTERN_H_
#define HSHM_BENCH_PATTERNS_PATTERN_H_

#include <cstdint>
#include <cstdlib>
#include <functional>
#include <thread>
#include <vector>

/**
 * Programs in the patterns by which allocators have been compared in the literature, written anew
 * from their published descriptions. Each does a fixed amount of work, so that its time compares.
 */
namespace hshm::bench {

struct PatternOptions {
  uint32_t threads_ = 2;
  uint32_t scale_ = 1;  // the work grows with it
};

void RunLarson(const PatternOptions& options);
void RunXmalloc(const PatternOptions& options);
void RunSh6bench(const PatternOptions& options);
void RunMstress(const PatternOptions& options);
void RunThreadtest(const PatternOptions& options);
void RunCacheScratch(const PatternOptions& options);

/** Runs work(index) in as many threads, and waits for them. */
inline void InThreads(uint32_t threads, const std::function<void(uint32_t)>& work) {
  std::vector<std::thread> all;
  for (uint32_t index = 0; index < threads; ++index) all.emplace_back(work, index);
  for (std::thread& thread : all) thread.join();
}

/** malloc, with the first and the last byte written; ends the program when there is no room. */
inline char* NewBlock(size_t size_bytes) {
  char* block = static_cast<char*>(std::malloc(size_bytes));
  if (block == nullptr) std::abort();
  static_cast<volatile char*>(block)[0] = 1;
  static_cast<volatile char*>(block)[size_bytes - 1] = 1;
  return block;
}

}  // namespace hshm::bench

#endif  // HSHM_BENCH_PATTERNS_PATTERN_H_
