#include "solvers.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "input_error.h"
#include "start_vector.h"

namespace spmv {
namespace {

/** The elements of a shared vector that belong to this rank's rows. */
double* Own(const RowWork& work, std::span<double> vector) {
  return vector.data() + work.first_row();
}

double SquareOf(RowWork& work, const double* own) {
  return work.Sum<1>([&](uint64_t i) { return std::array{own[i] * own[i]}; })[0];
}

void CheckFinite(double sum, uint64_t iteration) {
  if (std::isfinite(sum)) return;
  throw std::runtime_error("The numbers grow beyond what a double holds in iteration " +
                           std::to_string(iteration) + ".");
}

/** Largest difference of an own element from its StartValue, over all ranks. */
double ErrorOf(MPI_Comm comm, uint64_t first_row, const std::vector<double>& own) {
  double error = 0;
  for (uint64_t i = 0; i < own.size(); ++i) {
    error = std::max(error, std::abs(own[i] - StartValue(first_row + i)));
  }
  MPI_Allreduce(MPI_IN_PLACE, &error, 1, MPI_DOUBLE, MPI_MAX, comm);
  return error;
}

}  // namespace

void CheckSquare(const SharedMatrix& matrix) {
  if (matrix.rows() == matrix.columns()) return;
  throw InputError("The solvers need a square matrix, and " + matrix.name() + " has " +
                   std::to_string(matrix.rows()) + " rows and " + std::to_string(matrix.columns()) +
                   " columns.");
}

void CheckForConjugateGradients(const RowWork& work) {
  CheckSquare(work.matrix());
  const std::string& name = work.matrix().name();
  if (!work.matrix().IsSymmetric()) {
    throw InputError("Conjugate gradients need a symmetric matrix, and " + name + " is not.");
  }
  for (uint64_t i = 0; i < work.row_count(); ++i) {
    if (work.Diagonal(i) > 0) continue;
    throw InputError("Conjugate gradients need a positive definite matrix, and " + name +
                     " is not: it has no positive number on the diagonal of row " +
                     std::to_string(work.first_row() + i + 1) + ".");
  }
}

Iterated PowerIteration(RowWork& work, std::span<double> vector, const Limits& limits) {
  double* v = Own(work, vector);
  const uint64_t rows = work.row_count();
  std::vector<double> w(rows);  // the next v, before it is scaled
  for (uint64_t i = 0; i < rows; ++i) w[i] = StartValue(work.first_row() + i);
  double square = SquareOf(work, w.data());
  Iterated result;
  for (;;) {
    const double length = std::sqrt(square);
    for (uint64_t i = 0; i < rows; ++i) v[i] = w[i] / length;
    work.Exchange(vector);
    work.Apply(vector.data(), w.data());
    ++result.iterations_;
    const auto sums = work.Sum<2>([&](uint64_t i) { return std::array{v[i] * w[i], w[i] * w[i]}; });
    result.eigenvalue_ = sums[0];
    square = sums[1];
    CheckFinite(square, result.iterations_);
    const double residual = std::sqrt(work.Sum<1>([&](uint64_t i) {
      const double off = w[i] - result.eigenvalue_ * v[i];
      return std::array{off * off};
    })[0]);
    const double scale = std::abs(result.eigenvalue_);
    result.residual_ = residual == 0 ? 0 : residual / scale;
    result.has_converged_ = residual <= limits.tolerance_ * scale;
    if (result.has_converged_ || result.iterations_ == limits.most_iterations_) return result;
  }
}

Iterated ConjugateGradients(RowWork& work, std::span<double> vector, const Limits& limits) {
  const uint64_t rows = work.row_count();
  double* p = Own(work, vector);
  std::vector<double> b(rows), x(rows), q(rows);
  for (uint64_t i = 0; i < rows; ++i) p[i] = StartValue(work.first_row() + i);
  work.Exchange(vector);
  work.Apply(vector.data(), b.data());
  std::vector<double> r = b;
  const double b_square = SquareOf(work, b.data());
  const double enough = limits.tolerance_ * std::sqrt(b_square);
  double r_square = b_square;
  Iterated result;
  for (uint64_t i = 0; i < rows; ++i) p[i] = r[i];
  while (std::sqrt(r_square) > enough && result.iterations_ < limits.most_iterations_) {
    work.Exchange(vector);
    work.Apply(vector.data(), q.data());
    ++result.iterations_;
    const double curvature = work.Sum<1>([&](uint64_t i) { return std::array{p[i] * q[i]}; })[0];
    CheckFinite(curvature, result.iterations_);
    if (curvature <= 0) {
      throw InputError("Conjugate gradients need a positive definite matrix, and " +
                       work.matrix().name() + " is not: iteration " +
                       std::to_string(result.iterations_) + " met a direction p with p'Ap <= 0.");
    }
    const double step = r_square / curvature;
    for (uint64_t i = 0; i < rows; ++i) x[i] += step * p[i];
    for (uint64_t i = 0; i < rows; ++i) r[i] -= step * q[i];
    const double before = std::exchange(r_square, SquareOf(work, r.data()));
    for (uint64_t i = 0; i < rows; ++i) p[i] = r[i] + r_square / before * p[i];
  }
  result.has_converged_ = std::sqrt(r_square) <= enough;
  for (uint64_t i = 0; i < rows; ++i) p[i] = x[i];
  work.Exchange(vector);
  work.Apply(vector.data(), q.data());
  for (uint64_t i = 0; i < rows; ++i) r[i] = b[i] - q[i];
  const double left = SquareOf(work, r.data());
  result.residual_ = left == 0 ? 0 : std::sqrt(left / b_square);
  result.error_ = ErrorOf(work.comm(), work.first_row(), x);
  return result;
}

}  // namespace spmv
