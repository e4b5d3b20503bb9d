#include "report.h"

#include <cinttypes>
#include <cstdio>

namespace kmer_count {
namespace {

constexpr double kMegabyte = 1e6;

const char* ModeText(Mode mode) {
  switch (mode) {
    case Mode::kShared:
      return "one shared map";
    case Mode::kReplicated:
      return "a private map in each rank";
    case Mode::kSerial:
      return "one private map, rank 0 alone";
  }
  return "";
}

}  // namespace

void PrintSpectrum(const Options& options, const Spectrum& spectrum) {
  std::printf("%s: %" PRIu64 " words of %d bases, %" PRIu64 " of them distinct\n",
              options.genome_.c_str(), spectrum.Total(), options.k_, spectrum.Distinct());
  std::printf("%10s %12s\n", "seen", "words");
  for (const auto& [count, number] : spectrum.numbers()) {
    std::printf("%10" PRIu32 " %12" PRIu64 "\n", count, number);
  }
  std::printf("seen most:\n");
  for (const CountedKmer& top : spectrum.top()) {
    std::printf("%10" PRIu32 " %s\n", top.count_, KmerText(top.kmer_, options.k_).c_str());
  }
  std::fflush(stdout);
}

void PrintFigures(const Options& options, const Figures& figures) {
  std::fprintf(stderr, "ranks: %d on %d node%s, %s\n", figures.ranks_, figures.nodes_,
               figures.nodes_ == 1 ? "" : "s", ModeText(options.mode_));
  for (const Phase& phase : figures.phases_) {
    std::fprintf(stderr, "time %-8s %8.3f s\n", phase.name_.c_str(), phase.seconds_);
  }
  std::fprintf(stderr, "time %-8s %8.3f s\n", "all", figures.Seconds());
  const double shared = static_cast<double>(figures.segment_bytes_) / kMegabyte;
  const double own = static_cast<double>(figures.private_bytes_) / kMegabyte;
  std::fprintf(stderr, "memory shared %8.1f MB\n", shared);
  std::fprintf(stderr, "memory private %7.1f MB\n", own);
  std::fprintf(stderr, "memory node %10.1f MB\n", shared + own);
}

}  // namespace kmer_count
