#ifndef HSHM_EXAMPLES_SPMV_CSR_H_
#define HSHM_EXAMPLES_SPMV_CSR_H_

#include <cstdint>
#include <string>

/** Compressed sparse rows: what one rank has of a matrix, wherever it lies. */
namespace spmv {

/**
 * The rows [first_row_, first_row_ + row_count_). The entries of the i-th of them are columns_[k]
 * and values_[k] for k from starts_[i] to starts_[i + 1] - 1, in ascending columns.
 */
struct CsrSlice {
  uint64_t first_row_ = 0;
  uint64_t row_count_ = 0;
  uint64_t* starts_ = nullptr;  // row_count_ + 1; the first is 0 where all rows are together
  uint32_t* columns_ = nullptr;
  double* values_ = nullptr;

  uint64_t EntryCount() const { return starts_[row_count_] - starts_[0]; }

  /** Some of these rows, in the same arrays. */
  CsrSlice Rows(uint64_t first_row, uint64_t row_count) const {
    return {first_row, row_count, starts_ + (first_row - first_row_), columns_, values_};
  }

  /** Product of the i-th row with the vector x. */
  double RowTimes(uint64_t i, const double* x) const {
    double sum = 0;
    for (uint64_t k = starts_[i]; k < starts_[i + 1]; ++k) sum += values_[k] * x[columns_[k]];
    return sum;
  }
};

/**
 * Sorts each row by column and replaces the entries of one element by their sum, which is formed
 * in the order of their values: it does not depend on the order in which they came. The entries
 * that remain close up; the slice begins with its arrays. @throws InputError, naming the matrix,
 * when a sum is not finite
 */
void SortAndSum(CsrSlice& slice, const std::string& name);

/** The entry on the diagonal of the i-th row; 0 when there is none. */
double DiagonalOf(const CsrSlice& slice, uint64_t i);

/**
 * Sums that are the same for a matrix and for its transpose when, and but for an accident of one in
 * 2^64 only when, the matrix is symmetric. Those of slices add up.
 */
struct Fingerprints {
  uint64_t matrix_ = 0;
  uint64_t transpose_ = 0;
};
Fingerprints FingerprintsOf(const CsrSlice& slice);

}  // namespace spmv

#endif  // HSHM_EXAMPLES_SPMV_CSR_H_
