#ifndef HSHM_EXAMPLES_SPMV_SERIAL_H_
#define HSHM_EXAMPLES_SPMV_SERIAL_H_

#include <cstdint>
#include <vector>

#include "matrix_source.h"

/** What the ranks' results are compared with: one process, its own memory, the plainest loops. */
namespace spmv {

class SerialMatrix {
 public:
  /** Adds shift on the diagonal. @throws InputError */
  SerialMatrix(const MatrixSource& source, double shift);

  uint64_t rows() const { return rows_; }
  uint64_t columns() const { return columns_; }
  uint64_t EntryCount() const { return entries_.size(); }  // the shift's included

  std::vector<double> Times(const std::vector<double>& x) const;
  /** For each row the sum of |element * x|: what an error of rounding is relative to. */
  std::vector<double> Magnitudes(const std::vector<double>& x) const;

 private:
  uint64_t rows_;
  uint64_t columns_;
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
