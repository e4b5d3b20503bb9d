#ifndef HSHM_EXAMPLES_SPMV_ROW_SPLIT_H_
#define HSHM_EXAMPLES_SPMV_ROW_SPLIT_H_

#include <cstdint>
#include <span>
#include <vector>

/** Who gets which rows. Pure functions: every rank of every node computes the same. */
namespace spmv {

/** Most blocks that the rows are divided into: what each rank adds up for one scalar product. */
inline constexpr uint64_t kMaxBlocks = 2048;

/**
 * Rows of one block, a power of two that depends on the number of rows alone. Scalar products are
 * added up within each block and then over the blocks, and no block belongs to two ranks: so the
 * sum is the same, to the last bit, with any number of ranks.
 */
uint64_t BlockRows(uint64_t rows);

/**
 * Cuts the rows into `parts` ranges of whole blocks with about the same work, which is one for each
 * row and one for each of its entries: part p has the rows [result[p], result[p + 1]).
 * starts[row] is the number of entries in all rows before it; it has one more element than rows.
 */
std::vector<uint64_t> SplitRows(std::span<const uint64_t> starts, uint64_t parts);

/** Positions of the ranks when they stand in the order of their NUMA nodes: result[rank]. */
std::vector<uint64_t> PositionsByNumaNode(std::span<const uint32_t> numa_node_of_rank);

}  // namespace spmv

#endif  // HSHM_EXAMPLES_SPMV_ROW_SPLIT_H_
