#include "fasta.h"

#include <map>
#include <random>
#include <string>
#include <vector>

#include "catch.h"
#include "input_error.h"

namespace kmer_count {
namespace {

using Counts = std::map<std::string, int>;

/** Scans the text in slices that end at the given places. */
Counts Scan(const std::string& text, int k, const std::vector<uint64_t>& ends) {
  Counts counts;
  uint64_t begin = 0;
  for (const uint64_t end : ends) {
    const uint64_t bad =
        ScanSlice(text, begin, end, k, [&](Kmer kmer) { ++counts[KmerText(kmer, k)]; });
    REQUIRE(bad == kNoBadByte);
    begin = end;
  }
  return counts;
}

Counts Scan(const std::string& text, int k) { return Scan(text, k, {text.size()}); }

std::string ReverseComplement(const std::string& word) {
  std::string reverse(word.rbegin(), word.rend());
  for (char& c : reverse) c = "TGCA"[std::string("ACGT").find(c)];
  return reverse;
}

/** The same by cutting strings: runs of bases, then all words of a run. */
Counts CountInStrings(const std::vector<std::string>& runs, int k) {
  Counts counts;
  for (const std::string& run : runs) {
    for (size_t i = 0; i + k <= run.size(); ++i) {
      const std::string word = run.substr(i, k);
      ++counts[std::min(word, ReverseComplement(word))];
    }
  }
  return counts;
}

TEST_CASE("Line ends do not break k-mers, whichever they are") {
  const Counts expected = {{"ACG", 2}, {"AAC", 1}};
  CHECK(Scan(">r\nACGTT\n", 3) == expected);
  CHECK(Scan(">r\nAC\nGT\nT\n", 3) == expected);
  CHECK(Scan(">r\r\nAC\r\nGTT\r\n", 3) == expected);
  CHECK(Scan(">r\rAC\rGTT", 3) == expected);
}

TEST_CASE("Lower case counts as upper case") {
  CHECK(Scan(">r\nacgTT\n", 3) == Counts{{"ACG", 2}, {"AAC", 1}});
}

TEST_CASE("N, IUPAC letters, gaps and headers break k-mers") {
  CHECK(Scan(">r\nACGNACG\n", 3) == Counts{{"ACG", 2}});
  CHECK(Scan(">r\nACnGT\n", 3).empty());
  CHECK(Scan(">r\nACRGT-TT*AA\n", 3).empty());
  CHECK(Scan(">r\nAC\n>s\nGT\n", 3).empty());
}

TEST_CASE("Letters of a header are no bases") {
  CHECK(Scan(">ACGACGACG\nTTT\n", 3) == Counts{{"AAA", 1}});
}

TEST_CASE("However a text is cut into two slices, each k-mer is found once") {
  const std::string text = ">ACGT first\r\nACGTTNacgatt\r\nGG\r\n>second ACG\nTTTACG\nA";
  const Counts whole = Scan(text, 3);
  CHECK(whole == CountInStrings({"ACGTT", "ACGATTGG", "TTTACGA"}, 3));
  for (uint64_t cut = 0; cut <= text.size(); ++cut) {
    CAPTURE(cut);
    CHECK(Scan(text, 3, {cut, text.size()}) == whole);
  }
}

TEST_CASE("Random texts in random slices give what cutting strings gives") {
  const auto seed = GENERATE(take(40, random(1, 1 << 30)));
  CAPTURE(seed);
  std::mt19937 random(seed);
  const auto below = [&](int n) { return static_cast<int>(random() % n); };
  std::string text = ">r\n";
  std::vector<std::string> runs(1);
  for (int i = 0; i < 400; ++i) {
    const int what = below(40);
    if (what == 0) {
      text += "\n>ACGT\n";
      runs.emplace_back();
    } else if (what == 1) {
      text += "NRYKM"[below(5)];
      runs.emplace_back();
    } else if (what < 5) {
      text += what == 2 ? "\r\n" : "\n";
    } else {
      const int base = below(4);
      text += (what % 2 ? "ACGT" : "acgt")[base];
      runs.back() += "ACGT"[base];
    }
  }
  const int k = 1 + 2 * below(16);
  CAPTURE(k, text);
  std::vector<uint64_t> ends;
  for (uint64_t end = 0; end < text.size(); end += below(60)) ends.push_back(end);
  ends.push_back(text.size());
  CHECK(Scan(text, k, ends) == CountInStrings(runs, k));
}

TEST_CASE("A scan stops at the first byte that FASTA has no place for") {
  const auto stop = [](const std::string& text) {
    return ScanSlice(text, 0, text.size(), 3, [](Kmer) {});
  };
  CHECK(stop(">r\nAC1\n") == 5);
  CHECK(stop(std::string(">r\nA\0C\n", 7)) == 4);
  CHECK(stop(">r\nAC>G\n") == 5);                     // a header begins a line
  CHECK(stop(">r \x01\xff 1\nACG\n") == kNoBadByte);  // a header may hold anything
  CHECK_THAT(DescribeBadByte(">r\nAC1\n", 5, "x.fa"), ContainsSubstring("'1' at byte 5"));
}

TEST_CASE("A header of more than 64 KiB is refused, one of 64 KiB is read") {
  const std::string longest = ">" + std::string(kMaxHeaderBytes - 1, 'A');
  CHECK(Scan(longest + "\nACG\n", 3, {40000, kMaxHeaderBytes + 5}) == Counts{{"ACG", 1}});
  const std::string text = longest + "A\nACG\n";
  CHECK(ScanSlice(text, 0, text.size(), 3, [](Kmer) {}) == 0);
}

TEST_CASE("A text is refused as a whole when it is empty, no FASTA, or ends after a header") {
  CHECK_THROWS_AS(CheckFasta("", "x"), InputError);
  CHECK_THROWS_WITH(CheckFasta(" \n", "x"), "x is empty.");
  CHECK_THROWS_AS(CheckFasta("ACGT\n", "x"), InputError);
  CHECK_THROWS_AS(CheckFasta("\x7f"
                             "ELF",
                             "x"),
                  InputError);
  CHECK_THROWS_AS(CheckFasta(">r\nACGT\n>s", "x"), InputError);
  CHECK_THROWS_AS(CheckFasta(">r\r\n\r\n", "x"), InputError);
  CHECK_NOTHROW(CheckFasta("\n>r\nACGT", "x"));
}

}  // namespace
}  // namespace kmer_count
