#ifndef HSHM_EXAMPLES_SPMV_VERIFY_H_
#define HSHM_EXAMPLES_SPMV_VERIFY_H_

#include <cstdint>
#include <string>

#include "matrix_source.h"
#include "options.h"
#include "report.h"

namespace spmv {

/** Largest error of a product's element, relative to the sum of the magnitudes in its row. */
inline constexpr double kProductTolerance = 1e-12;

/**
 * Does the task again on the calling rank alone. @throws std::runtime_error when the results
 * differ. @return a sentence on what was compared
 */
std::string Verify(const MatrixSource& source, const Options& options, const Outcome& outcome);

}  // namespace spmv

#endif  // HSHM_EXAMPLES_SPMV_VERIFY_H_
