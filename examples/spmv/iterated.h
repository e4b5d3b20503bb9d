#ifndef HSHM_EXAMPLES_SPMV_ITERATED_H_
#define HSHM_EXAMPLES_SPMV_ITERATED_H_

#include <cstdint>

namespace spmv {

struct Limits {
  double tolerance_ = 1e-8;
  uint64_t most_iterations_ = 10'000;
};

/** How an iteration ended; the same on all ranks. */
struct Iterated {
  bool has_converged_ = false;
  uint64_t iterations_ = 0;
  double residual_ = 0;    // relative: to the eigenvalue, or to the right-hand side
  double eigenvalue_ = 0;  // of the power iteration
  double error_ = 0;       // of conjugate gradients: the largest of an element
};

}  // namespace spmv

#endif  // HSHM_EXAMPLES_SPMV_ITERATED_H_
