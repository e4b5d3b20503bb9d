/** spmv: see README.md. */

#include <mpi.h>

#include <cstdio>
#include <memory>
#include <string>
#include <vector>

#include "load.h"
#include "memory_use.h"
#include "options.h"
#include "report.h"
#include "row_work.h"
#include "solvers.h"
#include "start_vector.h"
#include "verify.h"

namespace spmv {
namespace {

/** The product with the vector of StartValues, again and again, as an iteration would. */
void Multiply(Team& team, const RowWork& work, uint64_t times, Outcome& outcome) {
  const std::span<double> y = team.MakeShared<double>("spmv y", work.matrix().rows());
  const std::span<double> x = team.MakeShared<double>("spmv x", work.matrix().columns());
  if (team.IsLeader()) {
    for (uint64_t i = 0; i < x.size(); ++i) x[i] = StartValue(i);
  }
  team.NodeBarrier();
  const double begin = MPI_Wtime();
  for (uint64_t i = 0; i < times; ++i) {
    work.Apply(x.data(), y.data() + work.first_row());
    work.Exchange(y);
  }
  outcome.products_seconds_ = MPI_Wtime() - begin;
  outcome.products_ = times;
  outcome.vector_ = y;
}

/** @throws Failure */
void Solve(Team& team, RowWork& work, const Options& options, Outcome& outcome) {
  const bool is_power = options.task_ == Task::kPower;
  Together(team.all(),
           [&] { is_power ? CheckSquare(work.matrix()) : CheckForConjugateGradients(work); });
  const Limits limits{options.tolerance_, options.most_iterations_};
  const std::span<double> vector = team.MakeShared<double>("spmv vector", work.matrix().rows());
  const double begin = MPI_Wtime();
  Together(team.all(), [&] {
    outcome.iterated_ =
        is_power ? PowerIteration(work, vector, limits) : ConjugateGradients(work, vector, limits);
  });
  outcome.products_seconds_ = MPI_Wtime() - begin;
  outcome.products_ = outcome.iterated_.iterations_;
  outcome.vector_ = vector;
}

/** After the results are out, so that they can be looked at whatever is found. @throws Failure */
void Check(Team& team, const Options& options, const Outcome& outcome) {
  Together(team.all(), [&] {
    if (!team.IsFirst() || !options.verify_) return;
    WithPrivateSource(options, [&](const MatrixSource& source) {
      std::fprintf(stderr, "verified: %s\n",
                   Verify(source, options, outcome.iterated_, outcome.vector_).c_str());
    });
  });
  Together(team.all(), [&] {
    if (options.task_ == Task::kProduct || outcome.iterated_.has_converged_) return;
    throw std::runtime_error("No convergence in " + std::to_string(options.most_iterations_) +
                             " iterations; --iterations, --tolerance and --shift may help.");
  });
}

/** @throws Failure */
void Run(MPI_Comm comm, const std::vector<std::string>& arguments) {
  Options options;
  Together(comm, [&] { options = ParseOptions(arguments); });
  if (options.help_) {
    int rank = 0;
    MPI_Comm_rank(comm, &rank);
    if (rank == 0) std::fputs(kUsage, stdout);
    return;
  }
  const uint64_t private_before = PrivateBytes();
  Team team(comm, options.is_replicated_, options.heap_bytes_);
  Outcome outcome;
  const double begin = MPI_Wtime();
  const std::unique_ptr<SharedMatrix> matrix = LoadShared(team, options);
  outcome.read_seconds_ = MPI_Wtime() - begin;
  Together(comm, [&] {
    if (options.shift_ != 0) CheckSquare(*matrix);
  });
  RowWork work(team, *matrix, options.shift_);
  if (options.task_ == Task::kProduct) {
    Multiply(team, work, options.repeat_, outcome);
  } else {
    Solve(team, work, options, outcome);
  }
  const uint64_t private_bytes = PrivateBytes() - private_before;
  if (team.IsFirst()) PrintResult(options, *matrix, outcome);
  PrintFigures(team, options, *matrix, outcome, private_bytes);
  Together(comm, [&] {
    if (team.IsFirst() && !options.output_.empty()) WriteVector(options.output_, outcome.vector_);
  });
  Check(team, options, outcome);
}

}  // namespace
}  // namespace spmv

int main(int argc, char** argv) {
  MPI_Init(&argc, &argv);
  int status = spmv::kDone;
  try {
    spmv::Run(MPI_COMM_WORLD, std::vector<std::string>(argv + 1, argv + argc));
  } catch (const spmv::Failure& failure) {
    status = failure.status();
    int rank = 0;
    MPI_Comm_rank(MPI_COMM_WORLD, &rank);
    if (rank == 0) std::fprintf(stderr, "spmv: %s\n", failure.what());
  }
  MPI_Finalize();
  return status;
}
