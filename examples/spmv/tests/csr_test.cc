#include "csr.h"

#include <limits>
#include <string>
#include <vector>

#include "catch.h"
#include "input_error.h"
#include "poisson.h"
#include "row_split.h"
#include "serial.h"

namespace spmv {
namespace {

/** Rows in vectors, as they came. */
struct Rows {
  std::vector<uint64_t> starts_;
  std::vector<uint32_t> columns_;
  std::vector<double> values_;

  CsrSlice Slice(uint64_t first_row = 0) {
    return {first_row, starts_.size() - 1, starts_.data(), columns_.data(), values_.data()};
  }
};

TEST_CASE("Rows are sorted, entries of one element summed, and the rest closes up") {
  Rows rows{{0, 4, 4, 7}, {3, 1, 3, 0, 2, 2, 2}, {1, 2, 10, 4, 1, 1, 1}};
  CsrSlice slice = rows.Slice();
  SortAndSum(slice, "m");
  CHECK(rows.starts_ == std::vector<uint64_t>{0, 3, 3, 4});
  CHECK(slice.EntryCount() == 4);
  rows.columns_.resize(4);
  rows.values_.resize(4);
  CHECK(rows.columns_ == std::vector<uint32_t>{0, 1, 3, 2});
  CHECK(rows.values_ == std::vector<double>{4, 2, 11, 3});
}

TEST_CASE("The sum of an element's entries does not depend on the order in which they came") {
  Rows one{{0, 3}, {5, 5, 5}, {1e16, 1, -1e16}};
  Rows other{{0, 3}, {5, 5, 5}, {-1e16, 1e16, 1}};
  CsrSlice a = one.Slice();
  CsrSlice b = other.Slice();
  SortAndSum(a, "m");
  SortAndSum(b, "m");
  CHECK(a.values_[0] == b.values_[0]);
}

TEST_CASE("Entries that add up to more than a double holds are refused") {
  const double most = std::numeric_limits<double>::max();
  Rows rows{{0, 0, 2}, {3, 3}, {most, most}};
  CsrSlice slice = rows.Slice(10);
  CHECK_THROWS_WITH(SortAndSum(slice, "m"),
                    "m: the entries of element (12, 4) add up to more than a double holds.");
}

TEST_CASE("A row times a vector is the sum of its products") {
  Rows rows{{0, 2, 2}, {0, 2}, {3, -2}};
  const double x[] = {10, 100, 1000};
  CHECK(rows.Slice().RowTimes(0, x) == -1970);
  CHECK(rows.Slice().RowTimes(1, x) == 0);
}

TEST_CASE("Some rows of a slice are the same rows") {
  Rows rows{{0, 1, 3, 4}, {0, 0, 1, 2}, {1, 2, 3, 4}};
  const CsrSlice some = rows.Slice(10).Rows(11, 2);
  const double x[] = {1, 10, 100};
  CHECK(some.first_row_ == 11);
  CHECK(some.EntryCount() == 3);
  CHECK(some.RowTimes(0, x) == 32);
  CHECK(some.RowTimes(1, x) == 400);
}

TEST_CASE("The diagonal of a slice is that of the whole matrix") {
  Rows rows{{0, 2, 3, 3}, {4, 5, 4}, {7, 8, 9}};
  const CsrSlice slice = rows.Slice(4);
  CHECK(DiagonalOf(slice, 0) == 7);
  CHECK(DiagonalOf(slice, 1) == 0);
  CHECK(DiagonalOf(slice, 2) == 0);
}

TEST_CASE("Fingerprints agree for a symmetric matrix only; stored zeros do not count") {
  Rows symmetric{{0, 2, 4}, {0, 1, 0, 1}, {1, 5, 5, 2}};
  Rows one_value{{0, 2, 4}, {0, 1, 0, 1}, {1, 5, 6, 2}};
  Rows one_place{{0, 2, 3}, {0, 1, 1}, {1, 5, 2}};
  Rows skew{{0, 1, 2}, {1, 0}, {5, -5}};
  Rows zero{{0, 2, 3}, {0, 1, 1}, {1, 0, 2}};
  const auto agree = [](Rows& rows) {
    const Fingerprints prints = FingerprintsOf(rows.Slice());
    return prints.matrix_ == prints.transpose_;
  };
  CHECK(agree(symmetric));
  CHECK_FALSE(agree(one_value));
  CHECK_FALSE(agree(one_place));
  CHECK_FALSE(agree(skew));
  CHECK(agree(zero));
}

TEST_CASE("Fingerprints of slices add up to that of the matrix") {
  Rows rows{{0, 2, 4}, {0, 1, 0, 1}, {1, 5, 5, 2}};
  Rows upper{{0, 2}, {0, 1}, {1, 5}};
  Rows lower{{0, 2}, {0, 1}, {5, 2}};
  const uint64_t sum =
      FingerprintsOf(upper.Slice(0)).matrix_ + FingerprintsOf(lower.Slice(1)).matrix_;
  CHECK(sum == FingerprintsOf(rows.Slice()).matrix_);
}

TEST_CASE("Blocks are powers of two, and at most kMaxBlocks of them") {
  CHECK(BlockRows(1) == 1);
  CHECK(BlockRows(2048) == 1);
  CHECK(BlockRows(2049) == 2);
  CHECK(BlockRows(1'000'000) == 512);
  CHECK(BlockRows(0x7fffffff) == uint64_t{1} << 20);
}

TEST_CASE("Rows are split in whole blocks, all of them, none twice") {
  for (const uint64_t rows : {1, 2, 7, 2048, 2049, 100'001}) {
    std::vector<uint64_t> starts(rows + 1);
    for (uint64_t row = 0; row < rows; ++row) starts[row + 1] = starts[row] + row % 5;
    for (const uint64_t parts : {1, 2, 3, 8, 64}) {
      CAPTURE(rows, parts);
      const std::vector<uint64_t> bounds = SplitRows(starts, parts);
      REQUIRE(bounds.size() == parts + 1);
      CHECK(bounds.front() == 0);
      CHECK(bounds.back() == rows);
      for (uint64_t part = 0; part < parts; ++part) {
        CHECK(bounds[part] <= bounds[part + 1]);
        CHECK((bounds[part] % BlockRows(rows) == 0 || bounds[part] == rows));
      }
    }
  }
}

TEST_CASE("Parts have about the same work, also when the entries are in few rows") {
  std::vector<uint64_t> starts(1001);
  for (uint64_t row = 0; row < 1000; ++row) starts[row + 1] = starts[row] + (row < 100 ? 91 : 1);
  const std::vector<uint64_t> bounds = SplitRows(starts, 4);  // 11,000 units of work
  for (uint64_t part = 0; part < 4; ++part) {
    CAPTURE(part);
    const uint64_t work =
        starts[bounds[part + 1]] - starts[bounds[part]] + bounds[part + 1] - bounds[part];
    CHECK(work >= 2750 - 92);
    CHECK(work <= 2750 + 92);
  }
}

TEST_CASE("Ranks stand in the order of their NUMA nodes, those of one node in their own") {
  const std::vector<uint32_t> nodes = {2, 0, 1, 0, 2};
  CHECK(PositionsByNumaNode(nodes) == std::vector<uint64_t>{3, 0, 2, 1, 4});
}

TEST_CASE("The parts of a Poisson matrix are that matrix") {
  std::vector<uint64_t> per_row(9);
  double sum = 0;
  uint64_t listed = 0;
  for (uint64_t part = 0; part < 4; ++part) {
    listed += Poisson(3).ForEach(part, 4, [&](const Entry& entry) {
      ++per_row[entry.row_];
      sum += entry.value_;
    });
  }
  CHECK(per_row == std::vector<uint64_t>{3, 4, 3, 4, 5, 4, 3, 4, 3});
  CHECK(listed == 33);
  CHECK(sum == 9 * 4 - 24);
}

TEST_CASE("The serial solvers find what is known of a Poisson matrix") {
  const SerialMatrix matrix(Poisson(7), 0);
  const SerialResult power = SerialPowerIteration(matrix, 1e-7, 10'000);
  CHECK(power.has_converged_);
  CHECK(power.eigenvalue_ == Approx(4 + 4 * 0.92387953251128674).epsilon(1e-7));  // cos(pi / 8)
  const SerialResult solved = SerialConjugateGradients(matrix, 1e-13, 100);
  CHECK(solved.has_converged_);
  const std::vector<double> wanted = StartVector(49);
  for (uint64_t i = 0; i < 49; ++i) CHECK(solved.vector_[i] == Approx(wanted[i]).epsilon(1e-11));
}

}  // namespace
}  // namespace spmv
