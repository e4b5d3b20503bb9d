/*
 * After the description of MicroQuill's SmartHeap benchmark: blocks of rising sizes, many of the
 * small and few of the large ones, in a list of which parts are freed in order, in reverse, and
 * every other block, while the rest stays.
 */
#include <algorithm>

#include "patterns/pattern.h"

namespace hshm::bench {
namespace {

constexpr size_t kLeastBytes = 8;
constexpr size_t kMostBytes = 1000;
constexpr uint32_t kRounds = 120;  // of each thread
constexpr size_t kKept = 20000;    // blocks that outlive a round

void FreeRange(std::vector<char*>& blocks, size_t from, size_t to, bool is_reverse) {
  for (size_t i = from; i < to; ++i) {
    char*& block = blocks[is_reverse ? to - 1 - (i - from) : i];
    std::free(block);
    block = nullptr;
  }
}

/** Sizes that rise by an eighth; of each so many blocks that they have about the same bytes. */
void Grow(std::vector<char*>& blocks) {
  for (size_t size = kLeastBytes; size < kMostBytes; size += std::max<size_t>(size / 8, 8)) {
    for (size_t i = 0; i < 64 * kMostBytes / size / 4; ++i) blocks.push_back(NewBlock(size));
  }
}

void Work(uint32_t rounds) {
  std::vector<char*> blocks;
  for (uint32_t round = 0; round < rounds; ++round) {
    const size_t start = blocks.size();
    Grow(blocks);
    const size_t third = (blocks.size() - start) / 3;
    FreeRange(blocks, start, start + third, false);
    FreeRange(blocks, start + third, start + 2 * third, true);
    for (size_t i = start + 2 * third; i < blocks.size(); i += 2)
      FreeRange(blocks, i, i + 1, false);
    std::erase(blocks, nullptr);
    if (blocks.size() > kKept) {
      FreeRange(blocks, 0, blocks.size() - kKept, false);
      std::erase(blocks, nullptr);
    }
  }
  FreeRange(blocks, 0, blocks.size(), true);
}

}  // namespace

void RunSh6bench(const PatternOptions& options) {
  InThreads(options.threads_, [&](uint32_t) { Work(kRounds * options.scale_); });
}

}  // namespace hshm::bench
