#include "options.h"

#include "catch.h"
#include "input_error.h"

namespace kmer_count {
namespace {

TEST_CASE("The defaults count 31-mers in the shared map") {
  const Options options = ParseOptions({"g.fa"});
  CHECK(options.genome_ == "g.fa");
  CHECK(options.k_ == 31);
  CHECK(options.mode_ == Mode::kShared);
  CHECK_FALSE(options.verify_);
  CHECK(options.heap_bytes_ == 0);
}

TEST_CASE("Options may stand before and after the genome, with '=' or without") {
  const Options options = ParseOptions({"--k=5", "g.fa", "--heap", "64M", "--verify", "--serial"});
  CHECK(options.k_ == 5);
  CHECK(options.heap_bytes_ == 64u << 20);
  CHECK(options.verify_);
  CHECK(options.mode_ == Mode::kSerial);
}

TEST_CASE("k must be odd, from 1 to 31, and a number") {
  for (const char* k : {"1", "3", "31"}) CHECK_NOTHROW(ParseOptions({"g", "--k", k}));
  for (const char* k : {"0", "2", "30", "32", "33", "-1", "", "3x", "x", "99999999999999999999"}) {
    CAPTURE(k);
    CHECK_THROWS_AS(ParseOptions({"g", "--k", k}), InputError);
  }
}

TEST_CASE("What cannot be understood is refused") {
  CHECK_THROWS_AS(ParseOptions({}), InputError);
  CHECK_THROWS_AS(ParseOptions({"a", "b"}), InputError);
  CHECK_THROWS_AS(ParseOptions({"a", "--k"}), InputError);
  CHECK_THROWS_AS(ParseOptions({"a", "--bases"}), InputError);
  CHECK_THROWS_AS(ParseOptions({"a", "--serial", "--replicated"}), InputError);
  CHECK_NOTHROW(ParseOptions({"--help"}));
}

TEST_CASE("Sizes are binary multiples") {
  CHECK(ParseBytes("65536") == 65536);
  CHECK(ParseBytes("64k") == 65536);
  CHECK(ParseBytes("3M") == 3u << 20);
  CHECK(ParseBytes("2GiB") == uint64_t{2} << 30);
  CHECK(ParseBytes("1tb") == uint64_t{1} << 40);
  for (const char* size : {"", "0", "M", "1x", "1MM", "1ib", "-1", "1.5G", "17592186044416M"}) {
    CAPTURE(size);
    CHECK_THROWS_AS(ParseBytes(size), InputError);
  }
}

}  // namespace
}  // namespace kmer_count
