#include "verify.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <stdexcept>
#include <vector>

#include "serial.h"

namespace spmv {
namespace {

/** "3.0e-13": short, for messages. */
std::string Short(double number) {
  char text[32];
  std::snprintf(text, sizeof(text), "%.1e", number);
  return text;
}

/** Rounding may shift the step in which an iteration meets its tolerance. */
void CheckIterations(const Iterated& ours, const SerialResult& serial) {
  const uint64_t apart = ours.iterations_ > serial.iterations_
                             ? ours.iterations_ - serial.iterations_
                             : serial.iterations_ - ours.iterations_;
  if (ours.has_converged_ == serial.has_converged_ && apart <= 1 + serial.iterations_ / 50) return;
  throw std::runtime_error("The ranks stopped after " + std::to_string(ours.iterations_) +
                           " iterations, and one rank alone after " +
                           std::to_string(serial.iterations_) + ".");
}

std::string VerifyProduct(const SerialMatrix& matrix, const Outcome& outcome) {
  const std::vector<double> x = StartVector(matrix.columns());
  const std::vector<double> y = matrix.Times(x);
  const std::vector<double> magnitudes = matrix.Magnitudes(x);
  double worst = 0;
  for (uint64_t i = 0; i < y.size(); ++i) {
    const double off = std::abs(y[i] - outcome.vector_[i]);
    if (off != 0) worst = std::max(worst, off / magnitudes[i]);
  }
  if (!(worst <= kProductTolerance)) {
    throw std::runtime_error("The product differs from a serial one by " + Short(worst) + ".");
  }
  return "a serial product differs by " + Short(worst) + " of a row's magnitude at most";
}

std::string VerifyPower(const SerialMatrix& matrix, const Options& options,
                        const Outcome& outcome) {
  const Iterated& ours = outcome.iterated_;
  const SerialResult serial =
      SerialPowerIteration(matrix, options.tolerance_, options.most_iterations_);
  CheckIterations(ours, serial);
  const double off = std::abs(ours.eigenvalue_ - serial.eigenvalue_);
  const double relative = off == 0 ? 0 : off / std::abs(serial.eigenvalue_);
  if (!(relative <= kProductTolerance + 2 * options.tolerance_)) {
    throw std::runtime_error("The eigenvalue differs from a serial one by " + Short(relative) +
                             ".");
  }
  return "a serial iteration stopped after " + std::to_string(serial.iterations_) +
         ", its eigenvalue differs by " + Short(relative);
}

std::string VerifyConjugateGradients(const SerialMatrix& matrix, const Options& options,
                                     const Outcome& outcome) {
  const Iterated& ours = outcome.iterated_;
  const SerialResult serial =
      SerialConjugateGradients(matrix, options.tolerance_, options.most_iterations_);
  CheckIterations(ours, serial);
  // Our solution, in the serial matrix.
  const std::vector<double> b = matrix.Times(StartVector(matrix.rows()));
  const std::vector<double> x(outcome.vector_.begin(), outcome.vector_.end());
  const std::vector<double> product = matrix.Times(x);
  double off = 0;
  double all = 0;
  for (uint64_t i = 0; i < b.size(); ++i) {
    off += (b[i] - product[i]) * (b[i] - product[i]);
    all += b[i] * b[i];
  }
  const double residual = off == 0 ? 0 : std::sqrt(off / all);
  // The residual of the recurrence met the tolerance; the true one is off by rounding.
  if (ours.has_converged_ && !(residual <= 2 * options.tolerance_ + kProductTolerance)) {
    throw std::runtime_error("The solution has a residual of " + Short(residual) +
                             " in the serial matrix.");
  }
  return "a serial solver stopped after " + std::to_string(serial.iterations_) +
         ", in its matrix the solution's residual is " + Short(residual);
}

}  // namespace

std::string Verify(const MatrixSource& source, const Options& options, const Outcome& outcome) {
  const SerialMatrix matrix(source, options.shift_);
  switch (options.task_) {
    case Task::kPower:
      return VerifyPower(matrix, options, outcome);
    case Task::kConjugateGradients:
      return VerifyConjugateGradients(matrix, options, outcome);
    case Task::kProduct:
      break;
  }
  return VerifyProduct(matrix, outcome);
}

}  // namespace spmv
