#ifndef HSHM_EXAMPLES_SPMV_ROW_WORK_H_
#define HSHM_EXAMPLES_SPMV_ROW_WORK_H_

#include <algorithm>
#include <array>
#include <cstdint>
#include <span>
#include <vector>

#include "shared_matrix.h"
#include "team.h"

namespace spmv {

/**
 * What the ranks do with the rows of a matrix, each with its own: products and sums. Vectors that
 * are multiplied are whole and shared on the node; of all others a rank has its own rows.
 *
 * Results do not depend on the number of ranks: a row is added up in the order of its columns, and
 * scalar products by blocks of rows, see BlockRows.
 */
class RowWork {
 public:
  /** Collective. The operator is the matrix plus shift times the identity. @throws Failure */
  RowWork(Team& team, const SharedMatrix& matrix, double shift);

  MPI_Comm comm() const { return team_.all(); }
  const SharedMatrix& matrix() const { return matrix_; }
  uint64_t first_row() const { return matrix_.slice().first_row_; }
  uint64_t row_count() const { return matrix_.slice().row_count_; }

  /** Own rows of the product with the whole vector x. */
  void Apply(const double* x, double* own) const {
    const CsrSlice& slice = matrix_.slice();
    if (shift_ == 0) {
      for (uint64_t i = 0; i < slice.row_count_; ++i) own[i] = slice.RowTimes(i, x);
    } else {
      for (uint64_t i = 0; i < slice.row_count_; ++i) {
        own[i] = slice.RowTimes(i, x) + shift_ * x[slice.first_row_ + i];
      }
    }
  }

  /** The entry on the diagonal of the i-th own row. */
  double Diagonal(uint64_t i) const { return DiagonalOf(matrix_.slice(), i) + shift_; }

  /** Collective: rows of x that the others wrote come to this node, see Team::Exchange. */
  void Exchange(std::span<double> x) const { team_.Exchange(x.data(), matrix_.bounds()); }

  /**
   * Collective: the sums over all rows of the `n` numbers that terms(i) gives for the i-th own row.
   * The same on all ranks. What a rank wrote into shared vectors before, all of its node see after.
   */
  template <size_t n, typename Terms>
  std::array<double, n> Sum(const Terms& terms) {
    static_assert(n <= kMostSums);
    double* blocks = buffers_.data() + turn_ * kMostSums * block_count_;
    // Whoever writes this buffer again has met all others over the other one.
    turn_ ^= 1;
    std::vector<uint64_t>& ends = exchange_bounds_;
    for (uint64_t part = 0; part < ends.size(); ++part) ends[part] = n * block_bounds_[part];
    double* block = blocks + n * block_bounds_[team_.part()];
    for (uint64_t begin = 0; begin < row_count(); begin += block_rows_, block += n) {
      std::array<double, n> sums{};
      const uint64_t end = std::min(begin + block_rows_, row_count());
      for (uint64_t i = begin; i < end; ++i) {
        const std::array<double, n> added = terms(i);
        for (size_t k = 0; k < n; ++k) sums[k] += added[k];
      }
      std::copy(sums.begin(), sums.end(), block);
    }
    team_.Exchange(blocks, ends);
    std::array<double, n> sums{};
    for (uint64_t at = 0; at < block_count_; ++at) {
      for (size_t k = 0; k < n; ++k) sums[k] += blocks[n * at + k];
    }
    return sums;
  }

 private:
  static constexpr size_t kMostSums = 2;

  Team& team_;
  const SharedMatrix& matrix_;
  double shift_;
  uint64_t block_rows_;
  uint64_t block_count_;
  std::vector<uint64_t> block_bounds_;     // of the parts, in blocks
  std::vector<uint64_t> exchange_bounds_;  // of the parts, in numbers
  std::span<double> buffers_;              // two, on the node, used in turn
  uint64_t turn_ = 0;
};

}  // namespace spmv

#endif  // HSHM_EXAMPLES_SPMV_ROW_WORK_H_
