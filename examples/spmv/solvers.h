#ifndef HSHM_EXAMPLES_SPMV_SOLVERS_H_
#define HSHM_EXAMPLES_SPMV_SOLVERS_H_

#include <span>

#include "iterated.h"
#include "row_work.h"

namespace spmv {

/** @throws InputError when the matrix is not square */
void CheckSquare(const SharedMatrix& matrix);

/**
 * @throws InputError on some ranks when the matrix is not square, not symmetric, or has a number on
 * the diagonal that is not positive: then it is not positive definite
 */
void CheckForConjugateGradients(const RowWork& work);

/**
 * Collective: the eigenvalue of largest magnitude, by power iteration, until |A v - c v| is at most
 * the tolerance times |c|, where v is the vector, of length 1, and c = v' A v. `vector` is shared
 * on the node and has as many elements as the matrix has rows; in the end it is the eigenvector.
 * @throws std::runtime_error on all ranks when numbers become infinite
 */
Iterated PowerIteration(RowWork& work, std::span<double> vector, const Limits& limits);

/**
 * Collective: solves A x = b by conjugate gradients (M. R. Hestenes, E. Stiefel, 1952), where b is
 * A times the vector of StartValues, until |b - A x|, as the recurrence has it, is at most the
 * tolerance times |b|. The residual in the result is computed anew. `vector` as above; in the end
 * it is x. @throws InputError on all ranks when the matrix proves not to be positive definite
 */
Iterated ConjugateGradients(RowWork& work, std::span<double> vector, const Limits& limits);

}  // namespace spmv

#endif  // HSHM_EXAMPLES_SPMV_SOLVERS_H_
