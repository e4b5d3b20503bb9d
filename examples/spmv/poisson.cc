#include "poisson.h"

namespace spmv {

Poisson::Poisson(uint64_t side)
    : MatrixSource("2-D Poisson " + std::to_string(side) + " x " + std::to_string(side)),
      side_(side) {
  rows_ = side * side;
  columns_ = rows_;
}

uint64_t Poisson::ForEach(uint64_t part, uint64_t parts, const Visitor& visit) const {
  const uint64_t begin = rows_ * part / parts;
  const uint64_t end = rows_ * (part + 1) / parts;
  uint64_t listed = 0;
  const auto show = [&](uint64_t row, uint64_t column, double value) {
    visit({static_cast<uint32_t>(row), static_cast<uint32_t>(column), value});
    ++listed;
  };
  for (uint64_t row = begin; row < end; ++row) {
    const uint64_t across = row % side_;
    if (row >= side_) show(row, row - side_, -1);
    if (across > 0) show(row, row - 1, -1);
    show(row, row, 4);
    if (across + 1 < side_) show(row, row + 1, -1);
    if (row + side_ < rows_) show(row, row + side_, -1);
  }
  return listed;
}

}  // namespace spmv
