#ifndef HSHM_EXAMPLES_KMER_COUNT_PROGRESS_H_
#define HSHM_EXAMPLES_KMER_COUNT_PROGRESS_H_

#include <chrono>
#include <cstdint>

namespace kmer_count {

/** A bar on the user's terminal; nothing where standard error goes to a file or a pipe. */
class Progress {
 public:
  /** Shows only where shown_here: one rank draws. */
  explicit Progress(bool shown_here);
  ~Progress();
  Progress(const Progress&) = delete;
  Progress& operator=(const Progress&) = delete;

  /** Cheap enough to be called thousands of times a second. */
  void Show(uint64_t done, uint64_t all);

 private:
  bool shown_;
  bool drawn_ = false;
  std::chrono::steady_clock::time_point next_draw_;
};

}  // namespace kmer_count

#endif  // HSHM_EXAMPLES_KMER_COUNT_PROGRESS_H_
