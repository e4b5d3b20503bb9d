#ifndef HSHM_BENCH_LOOPS_CHURN_H_
#define HSHM_BENCH_LOOPS_CHURN_H_

#include <algorithm>
#include <cinttypes>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <utility>
#include <vector>

#include "loops/crew.h"
#include "loops/random.h"
#include "loops/resident.h"
#include "loops/touch.h"

namespace hshm::bench {

inline constexpr uint32_t kChurnLeastBytes = 16;
inline constexpr uint32_t kChurnMostBytes = 64 << 10;

struct ChurnOptions {
  uint64_t live_bytes_ = 0;  // requested, and never more
  uint64_t replacements_ = 0;
  uint64_t seed_ = 0;

  /** LIVE_MIB REPLACEMENTS SEED */
  static bool Read(int argc, char** argv, ChurnOptions* options) {
    if (argc != 4) return false;
    options->live_bytes_ = std::strtoull(argv[1], nullptr, 10) << 20;
    options->replacements_ = std::strtoull(argv[2], nullptr, 10);
    options->seed_ = std::strtoull(argv[3], nullptr, 10);
    return options->live_bytes_ >= kChurnMostBytes;
  }
};

/**
 * Years of a program's life: blocks whose sizes are log-uniform from 16 B to 64 KiB are replaced,
 * each chosen by chance, while the bytes requested stay within one block of the same. All pages of
 * a block are written, so that its memory counts.
 */
template <Heap H>
class Churn {
 public:
  Churn(H& heap, const ChurnOptions& options)
      : heap_(heap),
        options_(options),
        random_(options.seed_),
        sizes_(Sizes::LogUniform(kChurnLeastBytes, kChurnMostBytes, options.seed_)) {}

  /** Prints one object of JSON without its end, so that the caller can add to it. */
  void Run() {
    ReserveRecords();
    empty_bytes_ = HeapMemoryBytes();
    while (MakeOne()) {}
    const uint64_t samples = 256;
    const uint64_t start_ns = ThreadCpuNs();
    uint64_t sampling_ns = 0;
    for (uint64_t i = 0; i < options_.replacements_; ++i) {
      if (i % (options_.replacements_ / samples + 1) == 0) sampling_ns += Sample();
      FreeOne();
      while (MakeOne()) {}
    }
    sampling_ns += Sample();
    const double ns = static_cast<double>(ThreadCpuNs() - start_ns - sampling_ns);
    std::printf("{\"seed\": %" PRIu64 ", \"live_bytes\": %" PRIu64 ", \"replacements\": %" PRIu64
                ", \"peak_bytes\": %" PRIu64 ", \"failures\": %" PRIu64 ", \"ns\": %.2f",
                options_.seed_, options_.live_bytes_, options_.replacements_,
                peak_bytes_ - empty_bytes_, failures_,
                ns / static_cast<double>(options_.replacements_));
  }

  void FreeAll() {
    for (const auto& [block, size] : blocks_) heap_.Free(block);
    blocks_.clear();
    live_ = 0;
  }

 private:
  /** Has the memory of the records touched before the heap's is measured. */
  void ReserveRecords() {
    constexpr uint64_t kMeanBytes = 7877;  // (b - a) / ln(b / a) of log-uniform sizes from a to b
    blocks_.resize(options_.live_bytes_ / kMeanBytes * 5 / 4 + 1000);
    blocks_.clear();
  }

  /** False when the next block would be too much. A failure is counted, and the size dropped. */
  bool MakeOne() {
    if (next_size_ == 0) next_size_ = sizes_.At(random_.Next());
    if (live_ + next_size_ > options_.live_bytes_) return false;
    const uint32_t size = std::exchange(next_size_, 0);
    const auto block = heap_.Allocate(size);
    if (heap_.AddressOf(block) == nullptr) return ++failures_, false;
    TouchPages(heap_, block, size);
    blocks_.emplace_back(block, size);
    live_ += size;
    return true;
  }

  void FreeOne() {
    auto& place = blocks_[random_.Below(static_cast<uint32_t>(blocks_.size()))];
    heap_.Free(place.first);
    live_ -= place.second;
    place = blocks_.back();
    blocks_.pop_back();
  }

  uint64_t Sample() {
    const uint64_t start_ns = ThreadCpuNs();
    peak_bytes_ = std::max(peak_bytes_, HeapMemoryBytes());
    return ThreadCpuNs() - start_ns;
  }

  H& heap_;
  const ChurnOptions options_;
  Random random_;
  const Sizes sizes_;
  std::vector<std::pair<typename H::Block, uint32_t>> blocks_;
  uint32_t next_size_ = 0;
  uint64_t live_ = 0;
  uint64_t empty_bytes_ = 0;
  uint64_t peak_bytes_ = 0;
  uint64_t failures_ = 0;
};

}  // namespace hshm::bench

#endif  // HSHM_BENCH_LOOPS_CHURN_H_
