#ifndef HSHM_EXAMPLES_KMER_COUNT_KMER_H_
#define HSHM_EXAMPLES_KMER_COUNT_KMER_H_

#include <algorithm>
#include <cstdint>
#include <string>

/**
 * A k-mer is a word of k bases, two bits each: A 0, C 1, G 2, T 3, the first base in the highest
 * bits. A strand and its reverse complement are the same molecule, so both count as the smaller of
 * the two numbers, the canonical one. k is odd, so no word is its own reverse complement.
 */
namespace kmer_count {

using Kmer = uint64_t;

inline constexpr int kMaxK = 31;

/** Reads bases one by one and holds the k-mer that ends with the last one. */
class KmerRoller {
 public:
  explicit KmerRoller(int k)
      : k_(k), mask_((uint64_t{1} << (2 * k)) - 1), top_shift_(2 * (k - 1)) {}

  /** What was read so far is not part of any later k-mer. */
  void Break() { run_ = 0; }

  /** base is 0 to 3. @return true when k bases without a break have been read */
  bool Push(uint64_t base) {
    forward_ = ((forward_ << 2) | base) & mask_;
    reverse_ = (reverse_ >> 2) | ((3 - base) << top_shift_);
    run_ += run_ < k_;
    return run_ == k_;
  }

  Kmer Canonical() const { return std::min(forward_, reverse_); }

  /** Bases since the last break, k at most. */
  int run() const { return run_; }

 private:
  int k_;
  uint64_t mask_;
  int top_shift_;
  int run_ = 0;
  uint64_t forward_ = 0;
  uint64_t reverse_ = 0;
};

/** Most k-mers that a text of so many bytes can have. */
inline uint64_t MaxDistinct(uint64_t text_bytes, int k) {
  return std::min(text_bytes, uint64_t{1} << (2 * k - 1));  // 4^k words, each with its complement
}

/** The word in letters. */
inline std::string KmerText(Kmer kmer, int k) {
  std::string text(k, ' ');
  for (int i = 0; i < k; ++i) text[i] = "ACGT"[(kmer >> (2 * (k - 1 - i))) & 3];
  return text;
}

}  // namespace kmer_count

#endif  // HSHM_EXAMPLES_KMER_COUNT_KMER_H_
