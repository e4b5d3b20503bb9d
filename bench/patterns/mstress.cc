/*
 * After mimalloc's description of its stress test: threads allocate by chance sizes of powers of
 * two with few large ones, keep some, free some, and exchange blocks through a common table; they
 * end, and others are started.
 */
#include <array>
#include <atomic>

#include "loops/random.h"
#include "patterns/pattern.h"

namespace hshm::bench {
namespace {

constexpr uint32_t kTransfers = 1000;
constexpr uint32_t kGenerations = 12;
constexpr uint32_t kAllocations = 30000;  // of each thread

using Table = std::array<std::atomic<char*>, kTransfers>;

/** Half of the sizes are of one word, a quarter of two, and so on up to 512 words of 16 bytes; one
 * in 4096 is a hundred times larger. */
size_t NextSize(Random& random) {
  const uint64_t number = random.Next();
  const int steps = __builtin_ctzll((number >> 32) | 512);
  const size_t words = (size_t{1} << steps) + (number & ((uint64_t{1} << steps) - 1));
  return 16 * words * ((number >> 12) % 4096 == 0 ? 100 : 1);
}

void Work(Table& table, uint64_t seed) {
  Random random(seed);
  std::vector<char*> kept;
  for (uint32_t i = 0; i < kAllocations; ++i) {
    char* block = NewBlock(NextSize(random));
    const uint32_t choice = random.Below(100);
    if (choice < 25) {
      // pairs with the same exchange of the thread that put it there
      block = table[random.Below(kTransfers)].exchange(block, std::memory_order_acq_rel);
    }
    if (choice < 50) {
      std::free(block);
    } else {
      kept.push_back(block);
    }
    if (choice >= 75 && !kept.empty()) {
      std::swap(kept[random.Below(static_cast<uint32_t>(kept.size()))], kept.back());
      std::free(kept.back());
      kept.pop_back();
    }
  }
  for (char* block : kept) std::free(block);
}

}  // namespace

void RunMstress(const PatternOptions& options) {
  Table table{};
  for (uint32_t generation = 0; generation < kGenerations * options.scale_; ++generation) {
    InThreads(options.threads_,
              [&](uint32_t index) { Work(table, generation * options.threads_ + index + 1); });
  }
  for (auto& place : table) std::free(place.load());
}

}  // namespace hshm::bench
