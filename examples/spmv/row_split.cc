#include "row_split.h"

#include <algorithm>
#include <bit>
#include <numeric>

namespace spmv {

uint64_t BlockRows(uint64_t rows) { return std::bit_ceil((rows + kMaxBlocks - 1) / kMaxBlocks); }

std::vector<uint64_t> SplitRows(std::span<const uint64_t> starts, uint64_t parts) {
  const uint64_t rows = starts.size() - 1;
  const uint64_t block = BlockRows(rows);
  const auto work_before = [&](uint64_t row) { return starts[row] + row; };
  const uint64_t work = work_before(rows);
  std::vector<uint64_t> bounds(parts + 1, rows);
  uint64_t row = 0;
  for (uint64_t part = 0; part < parts; ++part) {
    const uint64_t wanted = work / parts * part + work % parts * part / parts;
    while (row < rows) {
      const uint64_t next = std::min(row + block, rows);
      // The cut falls where it is nearer to what is wanted: before this block, or behind it.
      if (work_before(row) + work_before(next) > 2 * wanted) break;
      row = next;
    }
    bounds[part] = row;
  }
  return bounds;
}

std::vector<uint64_t> PositionsByNumaNode(std::span<const uint32_t> numa_node_of_rank) {
  std::vector<uint64_t> order(numa_node_of_rank.size());
  std::iota(order.begin(), order.end(), uint64_t{0});
  std::stable_sort(order.begin(), order.end(), [&](uint64_t a, uint64_t b) {
    return numa_node_of_rank[a] < numa_node_of_rank[b];
  });
  std::vector<uint64_t> positions(order.size());
  for (uint64_t at = 0; at < order.size(); ++at) positions[order[at]] = at;
  return positions;
}

}  // namespace spmv
