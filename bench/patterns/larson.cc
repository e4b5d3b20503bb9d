/*
 * After Larson and Krishnan, "Memory allocation for long-running server applications" (1998): each
 * worker replaces blocks of its table by chance; a worker then ends and leaves its table to a new
 * thread, which so frees what another allocated.
 */
#include "loops/random.h"
#include "patterns/pattern.h"

namespace hshm::bench {
namespace {

constexpr uint32_t kTableBlocks = 5000;
constexpr uint32_t kReplacements = 100000;  // by each worker
constexpr uint32_t kGenerations = 10;

using Table = std::vector<char*>;

void Work(Table& table, Random& random) {
  for (uint32_t i = 0; i < kReplacements; ++i) {
    char*& block = table[random.Below(kTableBlocks)];
    std::free(block);
    block = NewBlock(8 + random.Below(993));
  }
}

}  // namespace

void RunLarson(const PatternOptions& options) {
  std::vector<Table> tables(options.threads_, Table(kTableBlocks, nullptr));
  for (uint32_t generation = 0; generation < kGenerations * options.scale_; ++generation) {
    InThreads(options.threads_, [&](uint32_t index) {
      Random random(generation * options.threads_ + index + 1);
      // The table of the worker before, of another place in the row.
      Work(tables[(index + generation) % options.threads_], random);
    });
  }
  for (Table& table : tables) {
    for (char* block : table) std::free(block);
  }
}

}  // namespace hshm::bench
