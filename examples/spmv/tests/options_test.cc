#include "options.h"

#include "catch.h"
#include "input_error.h"

namespace spmv {
namespace {

TEST_CASE("The defaults multiply") {
  const Options options = ParseOptions({"a.mtx"});
  CHECK(options.matrix_ == "a.mtx");
  CHECK(options.task_ == Task::kProduct);
  CHECK(options.shift_ == 0);
  CHECK_FALSE(options.verify_);
}

TEST_CASE("All options are taken, in any order") {
  const Options options =
      ParseOptions({"--cg", "--shift", "-2.5", "--tolerance", "1e-3", "a", "--iterations", "7",
                    "--repeat", "3", "--heap", "64M", "--output", "-", "--verify", "--replicated"});
  CHECK(options.task_ == Task::kConjugateGradients);
  CHECK(options.shift_ == -2.5);
  CHECK(options.tolerance_ == 1e-3);
  CHECK(options.most_iterations_ == 7);
  CHECK(options.repeat_ == 3);
  CHECK(options.heap_bytes_ == 64u << 20);
  CHECK(options.output_ == "-");
  CHECK(options.verify_);
  CHECK(options.is_replicated_);
}

TEST_CASE("A value may follow an equals sign") {
  const Options options = ParseOptions({"--heap=64M", "--shift=-2.5", "--output=a=b", "c=d.mtx"});
  CHECK(options.heap_bytes_ == 64u << 20);
  CHECK(options.shift_ == -2.5);
  CHECK(options.output_ == "a=b");
  CHECK(options.matrix_ == "c=d.mtx");
  CHECK_THROWS_WITH(ParseOptions({"a", "--cg=yes"}),
                    "There is no option --cg=yes; --help lists those that there are.");
  CHECK_THROWS_WITH(ParseOptions({"a", "--repeat="}),
                    "--repeat must be a number from 1 to 1000000000, and it is ''.");
}

TEST_CASE("What cannot be understood is refused") {
  CHECK_THROWS_WITH(ParseOptions({}), "No matrix was given; --help shows how.");
  CHECK_THROWS_WITH(ParseOptions({"a", "b"}), "One matrix at a time: 'a' and 'b' were given.");
  CHECK_THROWS_WITH(ParseOptions({"a", "--poisson", "3"}),
                    "A file and --poisson were given: which of them is the matrix?");
  CHECK_THROWS_WITH(ParseOptions({"a", "--power", "--cg"}), "--power and --cg exclude each other.");
  CHECK_THROWS_WITH(ParseOptions({"a", "--cgs"}),
                    "There is no option --cgs; --help lists those that there are.");
  CHECK_THROWS_WITH(ParseOptions({"a", "--shift"}), "--shift needs a value.");
  CHECK_NOTHROW(ParseOptions({"--help"}));
}

TEST_CASE("Numbers must be whole and in range") {
  for (const char* side : {"0", "46341", "-1", "x", "3x", "", "99999999999999999999"}) {
    CHECK_THROWS_WITH(
        ParseOptions({"--poisson", side}),
        "--poisson must be a number from 1 to 46340, and it is '" + std::string(side) + "'.");
  }
  for (const char* shift : {"", "x", "nan", "inf", "1e999", "1.5.2"}) {
    CHECK_THROWS_WITH(ParseOptions({"a", "--shift", shift}),
                      "--shift must be a finite number, and it is '" + std::string(shift) + "'.");
  }
  CHECK_THROWS_WITH(ParseOptions({"a", "--tolerance", "0"}), "--tolerance must be above 0.");
  for (const char* size : {"", "0", "M", "1x", "1MM", "-1", "1.5G", "17592186044416M"}) {
    CHECK_THROWS_AS(ParseOptions({"a", "--heap", size}), InputError);
  }
}

}  // namespace
}  // namespace spmv
