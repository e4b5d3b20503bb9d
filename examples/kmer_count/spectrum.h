#ifndef HSHM_EXAMPLES_KMER_COUNT_SPECTRUM_H_
#define HSHM_EXAMPLES_KMER_COUNT_SPECTRUM_H_

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <map>
#include <vector>

#include "kmer.h"

/** What a count of k-mers says about a genome. */
namespace kmer_count {

struct CountedKmer {
  Kmer kmer_;
  uint32_t count_;
  friend bool operator==(const CountedKmer&, const CountedKmer&) = default;
};

/** How many distinct k-mers were seen how often, and which were seen most. */
class Spectrum {
 public:
  static constexpr size_t kTopKmers = 10;

  void Add(CountedKmer counted) {
    ++numbers_[counted.count_];
    AddTop(counted);
  }

  /** number k-mers that were seen count times each. */
  void AddNumber(uint32_t count, uint64_t number) { numbers_[count] += number; }

  /** Keeps the k-mers seen most; of equals, the smaller ones. */
  void AddTop(CountedKmer counted) {
    if (top_.size() == kTopKmers && !IsBefore(counted, top_.back())) return;
    top_.insert(std::upper_bound(top_.begin(), top_.end(), counted, IsBefore), counted);
    if (top_.size() > kTopKmers) top_.pop_back();
  }

  void Merge(const Spectrum& other) {
    for (const auto& [count, number] : other.numbers_) AddNumber(count, number);
    for (const CountedKmer& counted : other.top_) AddTop(counted);
  }

  const std::map<uint32_t, uint64_t>& numbers() const { return numbers_; }
  const std::vector<CountedKmer>& top() const { return top_; }

  /** Distinct k-mers seen at least min_count times. */
  uint64_t Distinct(uint32_t min_count = 1) const {
    uint64_t sum = 0;
    for (auto it = numbers_.lower_bound(min_count); it != numbers_.end(); ++it) sum += it->second;
    return sum;
  }

  /** All k-mers of the genome, repeats included. */
  uint64_t Total() const {
    uint64_t sum = 0;
    for (const auto& [count, number] : numbers_) sum += count * number;
    return sum;
  }

  friend bool operator==(const Spectrum&, const Spectrum&) = default;

 private:
  static bool IsBefore(const CountedKmer& a, const CountedKmer& b) {
    return a.count_ != b.count_ ? a.count_ > b.count_ : a.kmer_ < b.kmer_;
  }

  std::map<uint32_t, uint64_t> numbers_;
  std::vector<CountedKmer> top_;
};

}  // namespace kmer_count

#endif  // HSHM_EXAMPLES_KMER_COUNT_SPECTRUM_H_
