#ifndef HSHM_EXAMPLES_SPMV_SERIAL_H_
#define HSHM_EXAMPLES_SPMV_SERIAL_H_

#include <cstdint>
#include <vector>

#include "matrix_source.h"

/**
 * What the ranks' results are compared with: one process, its own memory, the plainest loops. Only
 * the order in which numbers are added up is that of the ranks: a row by its columns and then the
 * shift, scalar products by BlockRows. So both round alike, and no tolerance has to allow for what
 * an ill-conditioned matrix makes of rounding.
 */
namespace spmv {

class SerialMatrix {
 public:
  /** The operator is the matrix plus shift times the identity. @throws InputError */
  SerialMatrix(const MatrixSource& source, double shift);

  uint64_t rows() const { return rows_; }
  uint64_t columns() const { return columns_; }

  std::vector<double> Times(const std::vector<double>& x) const;
  /** For each row the sum of |element * x|: what an error of rounding is relative to. */
  std::vector<double> Magnitudes(const std::vector<double>& x) const;

 private:
  uint64_t rows_;
  uint64_t columns_;
  double shift_;
  std::vector<Entry> entries_;  // by row and column
};

struct SerialResult {
  bool has_converged_ = false;
  uint64_t iterations_ = 0;
  double eigenvalue_ = 0;
  std::vector<double> vector_;
};

/** As the functions in solvers.h, for matrices that those accept. */
SerialResult SerialPowerIteration(const SerialMatrix& matrix, double tolerance, uint64_t most);
SerialResult SerialConjugateGradients(const SerialMatrix& matrix, double tolerance, uint64_t most);

/** StartValues. */
std::vector<double> StartVector(uint64_t size);

}  // namespace spmv

#endif  // HSHM_EXAMPLES_SPMV_SERIAL_H_
