#include "serial.h"

#include <algorithm>
#include <cmath>
#include <tuple>

#include "row_split.h"
#include "start_vector.h"

namespace spmv {
namespace {

double Dot(const std::vector<double>& a, const std::vector<double>& b) {
  const uint64_t block_rows = BlockRows(a.size());
  double sum = 0;
  for (uint64_t begin = 0; begin < a.size(); begin += block_rows) {
    const uint64_t end = std::min<uint64_t>(begin + block_rows, a.size());
    double block = 0;
    for (uint64_t i = begin; i < end; ++i) block += a[i] * b[i];
    sum += block;
  }
  return sum;
}

/** a + factor * b */
std::vector<double> Plus(const std::vector<double>& a, double factor,
                         const std::vector<double>& b) {
  std::vector<double> sum(a.size());
  for (uint64_t i = 0; i < a.size(); ++i) sum[i] = a[i] + factor * b[i];
  return sum;
}

}  // namespace

std::vector<double> StartVector(uint64_t size) {
  std::vector<double> x(size);
  for (uint64_t i = 0; i < size; ++i) x[i] = StartValue(i);
  return x;
}

SerialMatrix::SerialMatrix(const MatrixSource& source, double shift)
    : rows_(source.rows()), columns_(source.columns()), shift_(shift) {
  source.CheckStored(source.ForEach(0, 1, [&](const Entry& entry) { entries_.push_back(entry); }));
  std::sort(entries_.begin(), entries_.end(), [](const Entry& a, const Entry& b) {
    return std::tie(a.row_, a.column_, a.value_) < std::tie(b.row_, b.column_, b.value_);
  });
  std::vector<Entry> sums;
  for (const Entry& entry : entries_) {
    if (!sums.empty() && sums.back().row_ == entry.row_ && sums.back().column_ == entry.column_) {
      sums.back().value_ += entry.value_;
    } else {
      sums.push_back(entry);
    }
  }
  entries_ = std::move(sums);
}

std::vector<double> SerialMatrix::Times(const std::vector<double>& x) const {
  std::vector<double> y(rows_);
  for (const Entry& entry : entries_) y[entry.row_] += entry.value_ * x[entry.column_];
  if (shift_ != 0) {
    for (uint64_t i = 0; i < rows_; ++i) y[i] += shift_ * x[i];
  }
  return y;
}

std::vector<double> SerialMatrix::Magnitudes(const std::vector<double>& x) const {
  std::vector<double> sums(rows_);
  for (const Entry& entry : entries_) {
    sums[entry.row_] += std::abs(entry.value_ * x[entry.column_]);
  }
  if (shift_ != 0) {
    for (uint64_t i = 0; i < rows_; ++i) sums[i] += std::abs(shift_ * x[i]);
  }
  return sums;
}

SerialResult SerialPowerIteration(const SerialMatrix& matrix, double tolerance, uint64_t most) {
  SerialResult result;
  std::vector<double> next = StartVector(matrix.rows());
  while (!result.has_converged_ && result.iterations_ < most && Dot(next, next) != 0) {
    const double length = std::sqrt(Dot(next, next));
    for (double& element : next) element /= length;
    result.vector_ = std::move(next);
    next = matrix.Times(result.vector_);
    ++result.iterations_;
    result.eigenvalue_ = Dot(result.vector_, next);
    const std::vector<double> off = Plus(next, -result.eigenvalue_, result.vector_);
    result.has_converged_ = std::sqrt(Dot(off, off)) <= tolerance * std::abs(result.eigenvalue_);
  }
  return result;
}

SerialResult SerialConjugateGradients(const SerialMatrix& matrix, double tolerance, uint64_t most) {
  SerialResult result;
  const std::vector<double> b = matrix.Times(StartVector(matrix.rows()));
  const double enough = tolerance * std::sqrt(Dot(b, b));
  std::vector<double>& x = result.vector_;
  x.resize(matrix.rows());
  std::vector<double> r = b;
  std::vector<double> p = r;
  double square = Dot(r, r);
  while (std::sqrt(square) > enough && result.iterations_ < most) {
    const std::vector<double> q = matrix.Times(p);
    ++result.iterations_;
    const double step = square / Dot(p, q);
    x = Plus(x, step, p);
    r = Plus(r, -step, q);
    const double before = square;
    square = Dot(r, r);
    p = Plus(r, square / before, p);
  }
  result.has_converged_ = std::sqrt(square) <= enough;
  return result;
}

}  // namespace spmv
