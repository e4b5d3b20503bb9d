#include <limits>
#include <map>
#include <string>
#include <utility>

#include "catch.h"
#include "input_error.h"
#include "market_source.h"

namespace spmv {
namespace {

using Elements = std::map<std::pair<uint32_t, uint32_t>, double>;  // row and column from 1

/** All elements, the sum where one is listed more than once, however many parts the text has. */
Elements Read(const std::string& text, uint64_t parts = 1) {
  const MarketSource source("m", text);
  Elements elements;
  uint64_t stored = 0;
  for (uint64_t part = 0; part < parts; ++part) {
    stored += source.ForEach(part, parts, [&](const Entry& entry) {
      elements[{entry.row_ + 1, entry.column_ + 1}] += entry.value_;
    });
  }
  source.CheckStored(stored);
  return elements;
}

/** What is said about a text that is refused. */
std::string Refusal(const std::string& text) {
  try {
    Read(text);
  } catch (const InputError& error) {
    return error.what();
  }
  return "(accepted)";
}

const std::string kReal = "%%MatrixMarket matrix coordinate real general\n";
const std::string kSymmetric = "%%MatrixMarket matrix coordinate real symmetric\n";
const std::string kInteger = "%%MatrixMarket matrix coordinate integer general\n";
const std::string kPattern = "%%MatrixMarket matrix coordinate pattern general\n";

TEST_CASE("A general real matrix has the entries that are written, in any form of number") {
  CHECK(Read(kReal + "% a comment\n\n%\n 2 3 4\n1 1 1.5\n2\t3   -2e3\n1 2 +.25\n2 1 1E-3\n") ==
        Elements{{{1, 1}, 1.5}, {{2, 3}, -2000}, {{1, 2}, 0.25}, {{2, 1}, 0.001}});
}

TEST_CASE("Blank lines, carriage returns and a missing last line end are as nothing") {
  CHECK(Read("%%MatrixMarket matrix coordinate real general\r\n2 2 2\r\n\r\n1 1 1\r\n \n2 2 2") ==
        Elements{{{1, 1}, 1}, {{2, 2}, 2}});
}

TEST_CASE("The words of the header may be upper case") {
  CHECK(Read("%%MatrixMarket MATRIX Coordinate REAL General\n1 1 1\n1 1 7\n") ==
        Elements{{{1, 1}, 7}});
}

TEST_CASE("A pattern has ones") { CHECK(Read(kPattern + "2 2 1\n2 1\n") == Elements{{{2, 1}, 1}}); }

TEST_CASE("Integers are read as they are") {
  CHECK(Read(kInteger + "1 2 2\n1 1 -3\n1 2 9007199254740992\n") ==
        Elements{{{1, 1}, -3}, {{1, 2}, 9007199254740992.0}});
}

TEST_CASE("A symmetric matrix is stored by half, with its diagonal once") {
  CHECK(Read(kSymmetric + "3 3 3\n1 1 4\n3 1 5\n3 2 -6\n") ==
        Elements{{{1, 1}, 4}, {{3, 1}, 5}, {{1, 3}, 5}, {{3, 2}, -6}, {{2, 3}, -6}});
}

TEST_CASE("The other half of a skew-symmetric matrix has the other sign") {
  CHECK(Read("%%MatrixMarket matrix coordinate real skew-symmetric\n2 2 1\n2 1 5\n") ==
        Elements{{{2, 1}, 5}, {{1, 2}, -5}});
}

TEST_CASE("Entries of one element are summed") {
  CHECK(Read(kReal + "1 1 3\n1 1 1\n1 1 2\n1 1 4\n") == Elements{{{1, 1}, 7}});
}

TEST_CASE("Each line belongs to exactly one part, wherever the text is cut") {
  const std::string text = kReal + "9 9 5\n1 1 1\n\n2 2 22.125\n3 3 3\n\n\n4 4 4e0\n9 9 9";
  const Elements whole = Read(text);
  REQUIRE(whole.size() == 5);
  for (uint64_t parts = 1; parts <= 70; ++parts) {
    CAPTURE(parts);
    CHECK(Read(text, parts) == whole);
  }
}

TEST_CASE("What is too small for a double is rounded") {
  CHECK(Read(kReal + "1 2 2\n1 1 1e-400\n1 2 5e-324\n") ==
        Elements{{{1, 1}, 0}, {{1, 2}, std::numeric_limits<double>::denorm_min()}});
}

TEST_CASE("More entries than the text can hold are refused before it is read") {
  CHECK_THROWS_WITH(
      MarketSource("m", kReal + "2147483647 2147483647 18446744073709551615\n1 1 1\n"),
      "m has too few entries: its size line says 18446744073709551615, and behind it are 6 bytes.");
  CHECK_THROWS_WITH(MarketSource("m", kPattern + "9 9 1\n"),
                    "m has too few entries: its size line says 1, and behind it are 0 bytes.");
  CHECK_NOTHROW(MarketSource("m", kPattern + "9 9 2\n1 1\n2 2"));
  CHECK_NOTHROW(MarketSource("m", kReal + "9 9 0\n"));
}

TEST_CASE("The largest size is accepted, and one more is not") {
  CHECK(Refusal(kReal + "2147483647 2147483647 1\n2147483647 2147483647 1\n") == "(accepted)");
  CHECK(Refusal(kReal + "2147483648 1 0\n") ==
        "m, line 2: a matrix has 1 to 2147483647 rows and columns here, and this one has "
        "2147483648 and 1.");
}

TEST_CASE("A text that is no Matrix Market file is told from one of an unsupported kind") {
  const std::string none = "m is not a Matrix Market file: it does not begin with %%MatrixMarket.";
  CHECK(Refusal("hello\n") == none);
  CHECK(Refusal("") == none);
  CHECK(Refusal("%MatrixMarket matrix coordinate real general\n") == none);
  CHECK(Refusal("%%MatrixMarket matrix coordinate real\n1 1 0\n") ==
        "m, line 1: a header has five words, such as '%%MatrixMarket matrix coordinate real "
        "general', and this one is '%%MatrixMarket matrix coordinate real'.");
  CHECK(Refusal("%%MatrixMarket vector coordinate real general\n") ==
        "m, line 1: the object 'vector' is not supported, only 'matrix' is.");
  CHECK(Refusal("%%MatrixMarket matrix array real general\n") ==
        "m, line 1: the format 'array' is not supported, only 'coordinate' is.");
  CHECK(Refusal("%%MatrixMarket matrix coordinate complex general\n") ==
        "m, line 1: the field 'complex' is not supported, only 'real', 'integer', 'pattern' are.");
  CHECK(Refusal("%%MatrixMarket matrix coordinate real hermitian\n") ==
        "m, line 1: the symmetry 'hermitian' is not supported, only 'general', 'symmetric', "
        "'skew-symmetric' are.");
  CHECK(Refusal("%%MatrixMarket matrix coordinate pattern skew-symmetric\n") ==
        "m, line 1: a pattern has no signs, so it cannot be skew-symmetric.");
}

TEST_CASE("A size line must be there, whole, and in range") {
  const std::string three =
      "m, line 2: a size line has three numbers, rows, columns and entries, and this one is ";
  CHECK(Refusal(kReal) == "m ends before its size line.");
  CHECK(Refusal(kReal + "% 1 1 0\n") == "m ends before its size line.");
  CHECK(Refusal(kReal + "1 1\n") == three + "'1 1'.");
  CHECK(Refusal(kReal + "1 1 1 1\n") == three + "'1 1 1 1'.");
  CHECK(Refusal(kReal + "1 -1 1\n") == three + "'1 -1 1'.");
  CHECK(Refusal(kReal + "1 1 x\n") == three + "'1 1 x'.");
  CHECK(Refusal(kReal + "1 1 99999999999999999999\n") ==
        "m, line 2: the size '99999999999999999999' does not fit into 64 bits.");
  CHECK(Refusal(kReal + "0 1 0\n") ==
        "m, line 2: a matrix has 1 to 2147483647 rows and columns here, and this one has 0 and 1.");
  CHECK(Refusal(kSymmetric + "2 3 0\n") ==
        "m, line 2: a symmetric matrix is square, and this one has 2 rows and 3 columns.");
}

TEST_CASE("Indices outside the matrix are refused, in the line that has them") {
  const std::string size = "%\n2 3 2\n1 1 1\n";
  CHECK(Refusal(kReal + size + "3 1 1\n") == "m, line 5: the row '3' is outside 1 to 2.");
  CHECK(Refusal(kReal + size + "1 4 1\n") == "m, line 5: the column '4' is outside 1 to 3.");
  CHECK(Refusal(kReal + size + "0 1 1\n") == "m, line 5: the row '0' is outside 1 to 2.");
  CHECK(Refusal(kReal + size + "1 -1 1\n") == "m, line 5: the column '-1' is outside 1 to 3.");
  CHECK(Refusal(kReal + size + "1 18446744073709551617 1\n") ==
        "m, line 5: the column '18446744073709551617' is outside 1 to 3.");
  CHECK(Refusal(kReal + size + "1.0 1 1\n") == "m, line 5: the row '1.0' is no whole number.");
}

TEST_CASE("Values that are no finite numbers are refused") {
  const auto refused = [](const std::string& value) {
    return Refusal(kReal + "1 1 1\n1 1 " + value + "\n");
  };
  const auto not_finite = [](const std::string& value) {
    return "m, line 3: the value '" + value + "' is not finite, or too large for a double.";
  };
  for (const char* value : {"nan", "NaN", "inf", "-Infinity", "1e999", "-1e400"}) {
    CHECK(refused(value) == not_finite(value));
  }
  for (const char* value : {"x", "1.2.3", "0x10", "1e", "--1", "+-1", "+", "1,5"}) {
    CHECK(refused(value) == "m, line 3: the value '" + std::string(value) + "' is no number.");
  }
  CHECK(Refusal(kInteger + "1 1 1\n1 1 1.5\n") == "m, line 3: the value '1.5' is no whole number.");
  CHECK(Refusal(kInteger + "1 1 1\n1 1 9007199254740993\n") ==
        "m, line 3: the integer '9007199254740993' is beyond 2^53, where doubles are not exact.");
}

TEST_CASE("An entry has just the numbers that its kind has") {
  const std::string three = "an entry has three numbers, row, column and value, and this one is ";
  CHECK(Refusal(kReal + "2 2 1\n1 1\n") == "m, line 3: " + three + "'1 1'.");
  CHECK(Refusal(kReal + "2 2 1\n1 1 1 1\n") == "m, line 3: " + three + "'1 1 1 1'.");
  CHECK(Refusal(kReal + "2 2 1\n% late\n") == "m, line 3: " + three + "'% late'.");
  CHECK(Refusal(kPattern + "2 2 1\n1 1 1\n") ==
        "m, line 3: an entry has two numbers, row and column, and this one is '1 1 1'.");
}

TEST_CASE("The half that a symmetric matrix does not store must not be there") {
  CHECK(Refusal(kSymmetric + "2 2 1\n1 2 1\n") ==
        "m, line 3: entry (1, 2) is not on or below the diagonal, where a symmetric matrix is "
        "stored.");
  CHECK(Refusal("%%MatrixMarket matrix coordinate real skew-symmetric\n2 2 1\n2 2 1\n") ==
        "m, line 3: entry (2, 2) is not below the diagonal, where a skew-symmetric matrix is "
        "stored.");
}

TEST_CASE("Too few and too many entries are refused with both numbers") {
  CHECK(Refusal(kReal + "2 2 3\n1 1 1\n2 2 1\n") ==
        "m has too few entries: its size line says 3, and there are 2.");
  CHECK(Refusal(kReal + "2 2 1\n1 1 1\n2 2 1\n") ==
        "m has too many entries: its size line says 1, and there are 2.");
  CHECK(Refusal(kReal + "2 2 18446744073709551615\n1 1 1\n") ==
        "m has too few entries: its size line says 18446744073709551615, and behind it are 6 "
        "bytes.");
}

TEST_CASE("A message quotes no control characters, and no more than a line of text") {
  CHECK(Refusal(kReal + "1 1 1\n1 1 \x1b[2J\n") == "m, line 3: the value '?[2J' is no number.");
  CHECK(Refusal(kReal + "1 1 1\n1 1 " + std::string(100'000, 'x') + "\n").size() < 200);
}

}  // namespace
}  // namespace spmv
