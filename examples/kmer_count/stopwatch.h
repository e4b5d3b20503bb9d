#ifndef HSHM_EXAMPLES_KMER_COUNT_STOPWATCH_H_
#define HSHM_EXAMPLES_KMER_COUNT_STOPWATCH_H_

#include <chrono>

namespace kmer_count {

/** Seconds of wall clock. */
class Stopwatch {
 public:
  /** Since the last lap, or since the start. */
  double Lap() {
    const auto now = std::chrono::steady_clock::now();
    const double seconds = std::chrono::duration<double>(now - start_).count();
    start_ = now;
    return seconds;
  }

 private:
  std::chrono::steady_clock::time_point start_ = std::chrono::steady_clock::now();
};

}  // namespace kmer_count

#endif  // HSHM_EXAMPLES_KMER_COUNT_STOPWATCH_H_
