#ifndef HSHM_EXAMPLES_SPMV_REPORT_H_
#define HSHM_EXAMPLES_SPMV_REPORT_H_

#include <cstdint>
#include <span>
#include <string>

#include "iterated.h"
#include "options.h"
#include "shared_matrix.h"
#include "team.h"

namespace spmv {

/** What a run came to, on every rank. */
struct Outcome {
  Iterated iterated_;            // of a solver
  uint64_t products_ = 0;        // matrix times vector
  double read_seconds_ = 0;      // from the text to the finished matrix
  double products_seconds_ = 0;  // all that was done for the products, scalar products included
  std::span<const double> vector_;
};

/** The result, to standard output: the same text with any number of ranks and nodes. */
void PrintResult(const Options& options, const SharedMatrix& matrix, const Outcome& outcome);

/** Collective: who has what, times and memory, to standard error by the first rank. */
void PrintFigures(Team& team, const Options& options, const SharedMatrix& matrix,
                  const Outcome& outcome, uint64_t private_bytes);

/** As a Matrix Market array. @throws std::runtime_error when the file cannot be written */
void WriteVector(const std::string& path, std::span<const double> vector);

}  // namespace spmv

#endif  // HSHM_EXAMPLES_SPMV_REPORT_H_
