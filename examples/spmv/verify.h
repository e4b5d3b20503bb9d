#ifndef HSHM_EXAMPLES_SPMV_VERIFY_H_
#define HSHM_EXAMPLES_SPMV_VERIFY_H_

#include <span>
#include <string>

#include "iterated.h"
#include "matrix_source.h"
#include "options.h"

namespace spmv {

/**
 * Largest difference from the serial result: of a product's element relative to the sum of the
 * magnitudes in its row, of an eigenvalue to itself, of an eigenvector or a solution to its length.
 */
inline constexpr double kTolerance = 1e-12;

/**
 * Does the task again on the calling rank alone and compares the ranks' result with that. A solver
 * must have taken as many iterations: the serial one adds up in the same order, so that both round
 * alike and decide alike; nothing here grows with the tolerance of the iteration. An eigenvector's
 * sign is free. @throws std::runtime_error when the results differ. @return a sentence on what was
 * compared
 */
std::string Verify(const MatrixSource& source, const Options& options, const Iterated& iterated,
                   std::span<const double> vector);

}  // namespace spmv

#endif  // HSHM_EXAMPLES_SPMV_VERIFY_H_
