#ifndef HSHM_EXAMPLES_SPMV_SHARED_MATRIX_H_
#define HSHM_EXAMPLES_SPMV_SHARED_MATRIX_H_

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "csr.h"
#include "matrix_source.h"
#include "team.h"

namespace spmv {

/** Where a rank's rows are in the node's heap; each rank writes its own. */
struct SliceOffsets {
  uint64_t first_row_;
  uint64_t row_count_;
  uint64_t entries_before_;  // in rows that come before first_row_
  uint64_t starts_;
  uint64_t columns_;
  uint64_t values_;
};

/**
 * A matrix in the heaps of the nodes. Each node has the rows of its ranks, and each of those rows
 * lies in arrays that the rank which computes with it allocated: from its own units, on its own
 * NUMA node. All ranks of a node list the matrix together, and write what they meet into the
 * arrays of whoever has that row:
 *
 *     count     each rank one part of the list: how many entries a row has      starts[row] += 1
 *     split     the leader adds up starts; each rank allocates room for its rows
 *     fill      each rank its part again: the entry's place is                  starts[row]++
 *     finish    each rank sorts its rows and sums what is there twice
 *
 * In a replicated team each rank has all rows, and computes with its part of them.
 */
class SharedMatrix {
 public:
  /** Collective; the source is needed no more afterwards. @throws Failure */
  SharedMatrix(Team& team, const MatrixSource& source);
  ~SharedMatrix();
  SharedMatrix(const SharedMatrix&) = delete;
  SharedMatrix& operator=(const SharedMatrix&) = delete;

  const std::string& name() const { return name_; }
  uint64_t rows() const { return rows_; }
  uint64_t columns() const { return columns_; }
  /** Of the whole matrix. */
  uint64_t EntryCount() const { return entry_count_; }
  bool IsSymmetric() const { return is_symmetric_; }

  /** This rank's rows. */
  const CsrSlice& slice() const { return slice_; }
  /** Part p has the rows bounds()[p] to bounds()[p + 1] - 1. */
  const std::vector<uint64_t>& bounds() const { return bounds_; }

 private:
  /** The rows of one rank of this node, as this process sees them. */
  struct NodeSlice {
    CsrSlice slice_;
    uint64_t entries_before_;
  };

  void Count(const MatrixSource& source);
  void Split();
  void Fill(const MatrixSource& source);
  void Put(std::span<const NodeSlice> slices, const Entry& entry);
  void Finish();
  std::vector<NodeSlice> NodeSlices();

  Team& team_;
  std::string name_;
  uint64_t rows_;
  uint64_t columns_;
  std::span<uint64_t> starts_;       // shared while the matrix is built, one more than rows
  std::span<SliceOffsets> offsets_;  // shared while it is built, one for each rank of the node
  hipc::FullPtr<uint64_t> own_starts_;
  hipc::FullPtr<uint32_t> own_columns_;
  hipc::FullPtr<double> own_values_;
  std::vector<uint64_t> bounds_;
  CsrSlice slice_;
  uint64_t entry_count_ = 0;
  bool is_symmetric_ = false;
};

}  // namespace spmv

#endif  // HSHM_EXAMPLES_SPMV_SHARED_MATRIX_H_
