#include "report.h"

#include <algorithm>
#include <cerrno>
#include <cinttypes>
#include <cmath>
#include <cstdio>
#include <cstring>
#include <memory>
#include <stdexcept>
#include <vector>

#include "memory_use.h"

namespace spmv {
namespace {

constexpr double kMegabyte = 1e6;

struct RankLine {
  uint64_t part_;
  uint32_t numa_node_;
  uint32_t numa_nodes_;
  uint64_t first_row_;
  uint64_t row_count_;
  uint64_t entries_;
};

void PrintRanks(Team& team, const SharedMatrix& matrix) {
  const hipc::UnitChoice& units = team.heap().units();
  const CsrSlice& slice = matrix.slice();
  const RankLine mine{team.part(),      units.node_,      units.node_count_,
                      slice.first_row_, slice.row_count_, slice.EntryCount()};
  std::vector<RankLine> lines(team.parts());
  MPI_Gather(&mine, sizeof(mine), MPI_BYTE, lines.data(), sizeof(mine), MPI_BYTE, 0, team.all());
  if (!team.IsFirst()) return;
  for (uint64_t rank = 0; rank < lines.size(); ++rank) {
    const RankLine& line = lines[rank];
    std::fprintf(stderr,
                 "rank %" PRIu64 ": NUMA node %u of %u, %" PRIu64 " rows from %" PRIu64
                 " on, %" PRIu64 " entries\n",
                 rank, line.numa_node_, line.numa_nodes_, line.row_count_, line.first_row_ + 1,
                 line.entries_);
  }
}

/** Adds up over the ranks that are on a machine together, those of the first rank; to that one. */
struct NodeMemory {
  uint64_t shared_ = 0;
  uint64_t private_ = 0;
};
NodeMemory MeasureNode(Team& team, uint64_t private_bytes) {
  MPI_Comm machine = MPI_COMM_NULL;
  MPI_Comm_split_type(team.all(), MPI_COMM_TYPE_SHARED, 0, MPI_INFO_NULL, &machine);
  const uint64_t segment = team.IsLeader() ? SegmentBytes(team.alloc().GetRegion().base_) : 0;
  const uint64_t mine[2] = {segment, private_bytes};
  uint64_t sums[2] = {};
  MPI_Reduce(mine, sums, 2, MPI_UINT64_T, MPI_SUM, 0, machine);
  MPI_Comm_free(&machine);
  return {sums[0], sums[1]};
}

}  // namespace

void PrintResult(const Options& options, const SharedMatrix& matrix, const Outcome& outcome) {
  std::printf("%s: %" PRIu64 " x %" PRIu64 ", %" PRIu64 " %s, %s\n", matrix.name().c_str(),
              matrix.rows(), matrix.columns(), matrix.EntryCount(),
              matrix.EntryCount() == 1 ? "entry" : "entries",
              matrix.IsSymmetric() ? "symmetric" : "not symmetric");
  const Iterated& iterated = outcome.iterated_;
  if (options.task_ != Task::kProduct) {
    std::printf("%s after %" PRIu64 " iterations, relative residual %.3e\n",
                iterated.has_converged_ ? "converged" : "NOT CONVERGED", iterated.iterations_,
                iterated.residual_);
  }
  if (options.task_ == Task::kPower) std::printf("eigenvalue %.17g\n", iterated.eigenvalue_);
  if (options.task_ == Task::kConjugateGradients) {
    std::printf("largest error of an element %.3e\n", iterated.error_);
  }
  double sum = 0;
  double most = 0;
  for (const double element : outcome.vector_) {
    sum += element;
    most = std::max(most, std::abs(element));
  }
  std::printf("%s: sum %.17g, largest magnitude %.17g\n",
              options.task_ == Task::kProduct ? "product"
              : options.task_ == Task::kPower ? "eigenvector"
                                              : "solution",
              sum, most);
  std::fflush(stdout);
}

void PrintFigures(Team& team, const Options& options, const SharedMatrix& matrix,
                  const Outcome& outcome, uint64_t private_bytes) {
  const NodeMemory memory = MeasureNode(team, private_bytes);
  if (team.IsFirst()) {
    std::fprintf(stderr, "ranks: %" PRIu64, team.parts());
    if (options.is_replicated_) {
      std::fprintf(stderr, ", each with the whole matrix\n");
    } else {
      std::fprintf(stderr, " on %" PRIu64 " node%s, each with its rows in the node's heap\n",
                   team.nodes(), team.nodes() == 1 ? "" : "s");
    }
  }
  PrintRanks(team, matrix);
  if (!team.IsFirst()) return;
  const double each =
      outcome.products_seconds_ / static_cast<double>(std::max<uint64_t>(outcome.products_, 1));
  std::fprintf(stderr, "time read %.3f s\n", outcome.read_seconds_);
  std::fprintf(stderr, "time %s %.2f us, %" PRIu64 " times, %.3f GFLOP/s\n",
               options.task_ == Task::kProduct ? "product" : "iteration", each * 1e6,
               outcome.products_, 2e-9 * static_cast<double>(matrix.EntryCount()) / each);
  std::fprintf(stderr, "memory heaps   %8.1f MB\n",
               static_cast<double>(memory.shared_) / kMegabyte);
  std::fprintf(stderr, "memory private %8.1f MB\n",
               static_cast<double>(memory.private_) / kMegabyte);
  std::fprintf(stderr, "memory node    %8.1f MB\n",
               static_cast<double>(memory.shared_ + memory.private_) / kMegabyte);
}

void WriteVector(const std::string& path, std::span<const double> vector) {
  std::FILE* file = std::fopen(path.c_str(), "w");
  bool is_good = file != nullptr;
  if (is_good) {
    std::fprintf(file, "%%%%MatrixMarket matrix array real general\n%zu 1\n", vector.size());
    for (const double element : vector) std::fprintf(file, "%.17g\n", element);
    is_good = std::ferror(file) == 0;
    is_good = std::fclose(file) == 0 && is_good;
  }
  if (!is_good)
    throw std::runtime_error("Cannot write " + path + ": " + std::strerror(errno) + ".");
}

}  // namespace spmv
