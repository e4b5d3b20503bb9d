/** kmer_count: see README.md. */

#include <mpi.h>

#include <cinttypes>
#include <cstdio>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "agree.h"
#include "genome_file.h"
#include "options.h"
#include "private_count.h"
#include "report.h"
#include "shared_count.h"

namespace kmer_count {
namespace {

/** Private bytes of all ranks of a node, on its rank 0; and how many nodes there are. */
void AddUpNodes(MPI_Comm comm, Figures& figures) {
  MPI_Comm node = MPI_COMM_NULL;
  MPI_Comm_split_type(comm, MPI_COMM_TYPE_SHARED, 0, MPI_INFO_NULL, &node);
  const uint64_t mine = figures.private_bytes_;
  MPI_Reduce(&mine, &figures.private_bytes_, 1, MPI_UINT64_T, MPI_SUM, 0, node);
  int node_rank = 0;
  MPI_Comm_rank(node, &node_rank);
  const int leads = node_rank == 0;
  MPI_Allreduce(&leads, &figures.nodes_, 1, MPI_INT, MPI_SUM, comm);
  MPI_Comm_free(&node);
}

/** On the first `counters` ranks each for itself, while the others sleep. */
Counted CountInPrivate(MPI_Comm comm, int counters, const GenomeFile& file, int k) {
  Counted counted;
  Together(comm, [&] {
    int rank = 0;
    MPI_Comm_rank(comm, &rank);
    if (rank >= counters) return;
    PrivateCount count = CountPrivately(file, k);
    counted.spectrum_ = std::move(count.spectrum_);
    counted.figures_.phases_ = {{"read", count.read_seconds_}, {"count", count.count_seconds_}};
    counted.figures_.private_bytes_ = count.private_bytes_;
  });
  AddUpNodes(comm, counted.figures_);
  return counted;
}

Counted Count(MPI_Comm comm, int ranks, const GenomeFile& file, const Options& options) {
  switch (options.mode_) {
    case Mode::kReplicated:
      return CountInPrivate(comm, ranks, file, options.k_);
    case Mode::kSerial:
      return CountInPrivate(comm, 1, file, options.k_);
    case Mode::kShared:
      break;
  }
  return CountShared(comm, file, options);
}

/** @throws Failure when a serial recount gives another spectrum */
void Verify(MPI_Comm comm, int rank, const GenomeFile& file, int k, const Spectrum& spectrum) {
  const Counted serial = CountInPrivate(comm, 1, file, k);
  const bool same = rank != 0 || serial.spectrum_ == spectrum;
  Agree(comm, same ? kDone : kFailed, "The spectrum differs from that of a serial recount.");
  if (rank == 0) {
    std::fprintf(stderr, "verified: a serial std::unordered_map gives the same; %.3f s, %.1f MB\n",
                 serial.figures_.Seconds(), serial.figures_.private_bytes_ / 1e6);
  }
}

/** @throws Failure */
void Run(MPI_Comm comm, const std::vector<std::string>& arguments) {
  int rank = 0;
  int ranks = 0;
  MPI_Comm_rank(comm, &rank);
  MPI_Comm_size(comm, &ranks);
  Options options;
  Together(comm, [&] { options = ParseOptions(arguments); });
  if (options.help_) {
    if (rank == 0) std::fputs(kUsage, stdout);
    return;
  }
  std::optional<GenomeFile> file;
  Together(comm, [&] { file.emplace(options.genome_); });
  Counted counted = Count(comm, ranks, *file, options);
  counted.figures_.ranks_ = ranks;
  if (rank == 0) {
    PrintSpectrum(options, counted.spectrum_);
    PrintFigures(options, counted.figures_);
  }
  if (options.verify_) Verify(comm, rank, *file, options.k_, counted.spectrum_);
}

}  // namespace
}  // namespace kmer_count

int main(int argc, char** argv) {
  MPI_Init(&argc, &argv);
  int status = kmer_count::kDone;
  try {
    kmer_count::Run(MPI_COMM_WORLD, std::vector<std::string>(argv + 1, argv + argc));
  } catch (const kmer_count::Failure& failure) {
    status = failure.status();
    int rank = 0;
    MPI_Comm_rank(MPI_COMM_WORLD, &rank);
    if (rank == 0) std::fprintf(stderr, "kmer_count: %s\n", failure.what());
  }
  MPI_Finalize();
  return status;
}
