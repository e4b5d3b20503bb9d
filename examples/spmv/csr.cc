#include "csr.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <utility>
#include <vector>

#include "input_error.h"

namespace spmv {
namespace {

using Element = std::pair<uint32_t, double>;  // column and value

/** Sums neighbours of one column; @return how many elements remain. */
uint64_t SumNeighbours(std::vector<Element>& row) {
  uint64_t kept = 0;
  for (uint64_t k = 1; k < row.size(); ++k) {
    if (row[k].first == row[kept].first) {
      row[kept].second += row[k].second;
    } else {
      row[++kept] = row[k];
    }
  }
  return row.empty() ? 0 : kept + 1;
}

/** The finalizer of splitmix64 (G. L. Steele et al., OOPSLA 2014): each bit moves all others. */
uint64_t Mix(uint64_t bits) {
  bits = (bits ^ (bits >> 30)) * 0xbf58476d1ce4e5b9;
  bits = (bits ^ (bits >> 27)) * 0x94d049bb133111eb;
  return bits ^ (bits >> 31);
}

uint64_t FingerprintOf(uint64_t row, uint64_t column, double value) {
  constexpr uint64_t kGolden = 0x9e3779b97f4a7c15;  // so that element (0, 0) counts
  return Mix(Mix((row << 32 | column) + kGolden) ^ std::bit_cast<uint64_t>(value));
}

}  // namespace

void SortAndSum(CsrSlice& slice, const std::string& name) {
  std::vector<Element> row;
  uint64_t written = 0;
  uint64_t begin = 0;
  for (uint64_t i = 0; i < slice.row_count_; ++i) {
    const uint64_t end = slice.starts_[i + 1];
    row.clear();
    for (uint64_t k = begin; k < end; ++k) row.emplace_back(slice.columns_[k], slice.values_[k]);
    begin = end;
    std::sort(row.begin(), row.end());
    row.resize(SumNeighbours(row));
    for (const auto& [column, value] : row) {
      if (!std::isfinite(value)) {
        throw InputError(
            name + ": the entries of element (" + std::to_string(slice.first_row_ + i + 1) + ", " +
            std::to_string(column + uint64_t{1}) + ") add up to more than a double holds.");
      }
      slice.columns_[written] = column;
      slice.values_[written++] = value;
    }
    slice.starts_[i + 1] = written;
  }
}

double DiagonalOf(const CsrSlice& slice, uint64_t i) {
  const uint32_t* begin = slice.columns_ + slice.starts_[i];
  const uint32_t* end = slice.columns_ + slice.starts_[i + 1];
  const uint32_t* found = std::lower_bound(begin, end, slice.first_row_ + i);
  const bool is_there = found != end && *found == slice.first_row_ + i;
  return is_there ? slice.values_[found - slice.columns_] : 0;
}

Fingerprints FingerprintsOf(const CsrSlice& slice) {
  Fingerprints prints;
  for (uint64_t i = 0; i < slice.row_count_; ++i) {
    for (uint64_t k = slice.starts_[i]; k < slice.starts_[i + 1]; ++k) {
      if (slice.values_[k] == 0) continue;  // what is stored and what is not are the same then
      const uint64_t row = slice.first_row_ + i;
      prints.matrix_ += FingerprintOf(row, slice.columns_[k], slice.values_[k]);
      prints.transpose_ += FingerprintOf(slice.columns_[k], row, slice.values_[k]);
    }
  }
  return prints;
}

}  // namespace spmv
