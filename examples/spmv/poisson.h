#ifndef HSHM_EXAMPLES_SPMV_POISSON_H_
#define HSHM_EXAMPLES_SPMV_POISSON_H_

#include "matrix_source.h"

namespace spmv {

/**
 * The 5-point stencil for Poisson's equation on a square of side x side points: 4 on the diagonal,
 * -1 for each neighbour. Symmetric and positive definite; its largest eigenvalue is
 * 4 + 4 cos(pi / (side + 1)).
 */
class Poisson final : public MatrixSource {
 public:
  static constexpr uint64_t kMaxSidePoints = 46340;  // its square is just below kMaxSide

  explicit Poisson(uint64_t side);

  uint64_t ForEach(uint64_t part, uint64_t parts, const Visitor& visit) const override;
  void CheckStored(uint64_t) const override {}  // nothing is stored anywhere

 private:
  uint64_t side_;
};

}  // namespace spmv

#endif  // HSHM_EXAMPLES_SPMV_POISSON_H_
