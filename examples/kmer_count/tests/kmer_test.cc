#include "kmer.h"

#include <string>
#include <vector>

#include "catch.h"
#include "spectrum.h"

namespace kmer_count {
namespace {

/** Canonical k-mers of letters without breaks. */
std::vector<std::string> Words(const std::string& letters, int k) {
  std::vector<std::string> words;
  KmerRoller roller(k);
  for (const char letter : letters) {
    if (roller.Push(std::string("ACGT").find(letter))) {
      words.push_back(KmerText(roller.Canonical(), k));
    }
  }
  return words;
}

using List = std::vector<std::string>;

TEST_CASE("A k-mer counts as the smaller of itself and its reverse complement") {
  CHECK(Words("ACGTT", 3) == List{"ACG", "ACG", "AAC"});  // CGT is ACG and GTT is AAC, backwards
  CHECK(Words("TTTTT", 5) == List{"AAAAA"});
  CHECK(Words("GATTACA", 7) == List{"GATTACA"});  // the other strand reads TGTAATC
}

TEST_CASE("With k = 1 there are two k-mers, A and C") {
  CHECK(Words("ACGT", 1) == List{"A", "C", "C", "A"});
}

TEST_CASE("A k-mer of 31 bases keeps its first base") {
  const std::string word = "ATTTTTTTTTTTTTTTTTTTTTTTTTTTTTC";
  REQUIRE(word.size() == 31);
  CHECK(Words(word, 31) == List{word});
  const std::string other_strand = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAATC";  // of GATT...T
  CHECK(Words("G" + word, 31) == List{other_strand, word});
}

TEST_CASE("No k-mer spans a break") {
  KmerRoller roller(3);
  CHECK_FALSE(roller.Push(0));
  CHECK_FALSE(roller.Push(1));
  roller.Break();
  CHECK_FALSE(roller.Push(2));
  CHECK_FALSE(roller.Push(3));
  CHECK(roller.Push(3));
  CHECK(KmerText(roller.Canonical(), 3) == "AAC");
}

TEST_CASE("A spectrum keeps the k-mers seen most, the smaller of equals, in any order of arrival") {
  Spectrum forwards;
  Spectrum backwards;
  constexpr uint32_t kWords = 25;
  for (uint32_t i = 0; i < kWords; ++i) {
    forwards.Add({i, 1 + i / 5});
    backwards.Add({kWords - 1 - i, 1 + (kWords - 1 - i) / 5});
  }
  CHECK(forwards == backwards);
  REQUIRE(forwards.top().size() == Spectrum::kTopKmers);
  CHECK(forwards.top().front() == CountedKmer{20, 5});
  CHECK(forwards.top().back() == CountedKmer{19, 4});
  CHECK(forwards.numbers().at(3) == 5);
  CHECK(forwards.Distinct() == 25);
  CHECK(forwards.Distinct(2) == 20);
  CHECK(forwards.Total() == 5 * (1 + 2 + 3 + 4 + 5));
}

TEST_CASE("Merged spectra are the spectrum of the whole") {
  Spectrum whole;
  Spectrum even;
  Spectrum odd;
  for (uint32_t i = 0; i < 100; ++i) {
    const CountedKmer counted{i, 1 + i % 7};
    whole.Add(counted);
    (i % 2 == 0 ? even : odd).Add(counted);
  }
  even.Merge(odd);
  CHECK(even == whole);
}

}  // namespace
}  // namespace kmer_count
