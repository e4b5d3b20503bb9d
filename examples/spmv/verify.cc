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

/** @throws std::runtime_error, naming what it is, when it differs by more than kTolerance */
double CheckDifference(const char* what, double difference) {
  if (difference <= kTolerance) return difference;
  throw std::runtime_error("The " + std::string(what) + " differs from a serial one by " +
                           Short(difference) + ".");
}

/** Length of a - sign * b, relative to the length of b. */
double DistanceOf(std::span<const double> a, const std::vector<double>& b, double sign) {
  double off = 0;
  double all = 0;
  for (uint64_t i = 0; i < b.size(); ++i) {
    off += (a[i] - sign * b[i]) * (a[i] - sign * b[i]);
    all += b[i] * b[i];
  }
  return off == 0 ? 0 : std::sqrt(off / all);
}

void CheckIterations(const Iterated& ours, const SerialResult& serial) {
  if (ours.has_converged_ == serial.has_converged_ && ours.iterations_ == serial.iterations_) {
    return;
  }
  throw std::runtime_error("The ranks stopped after " + std::to_string(ours.iterations_) +
                           " iterations, and one rank alone after " +
                           std::to_string(serial.iterations_) + ".");
}

std::string AfterIterations(uint64_t count) {
  return " after " + std::to_string(count) + (count == 1 ? " iteration" : " iterations");
}

std::string VerifyProduct(const SerialMatrix& matrix, std::span<const double> ours) {
  const std::vector<double> x = StartVector(matrix.columns());
  const std::vector<double> y = matrix.Times(x);
  const std::vector<double> magnitudes = matrix.Magnitudes(x);
  double worst = 0;
  for (uint64_t i = 0; i < y.size(); ++i) {
    const double off = std::abs(y[i] - ours[i]);
    // Written so that a difference which is no number stays.
    if (off != 0 && !(off / magnitudes[i] <= worst)) worst = off / magnitudes[i];
  }
  return "a serial product differs by " + Short(CheckDifference("product", worst)) +
         " of a row's magnitude at most";
}

std::string VerifyPower(const SerialMatrix& matrix, const Options& options, const Iterated& ours,
                        std::span<const double> vector) {
  const SerialResult serial =
      SerialPowerIteration(matrix, options.tolerance_, options.most_iterations_);
  CheckIterations(ours, serial);
  const double off = std::abs(ours.eigenvalue_ - serial.eigenvalue_);
  const double value =
      CheckDifference("eigenvalue", off == 0 ? 0 : off / std::abs(serial.eigenvalue_));
  const double distance = CheckDifference(
      "eigenvector",
      std::min(DistanceOf(vector, serial.vector_, 1), DistanceOf(vector, serial.vector_, -1)));
  return "a serial eigenvalue" + AfterIterations(serial.iterations_) + " differs by " +
         Short(value) + " of itself, the vector by " + Short(distance) + " of its length";
}

std::string VerifyConjugateGradients(const SerialMatrix& matrix, const Options& options,
                                     const Iterated& ours, std::span<const double> vector) {
  const SerialResult serial =
      SerialConjugateGradients(matrix, options.tolerance_, options.most_iterations_);
  CheckIterations(ours, serial);
  const double distance = CheckDifference("solution", DistanceOf(vector, serial.vector_, 1));
  return "a serial solution" + AfterIterations(serial.iterations_) + " differs by " +
         Short(distance) + " of its length";
}

}  // namespace

std::string Verify(const MatrixSource& source, const Options& options, const Iterated& iterated,
                   std::span<const double> vector) {
  const SerialMatrix matrix(source, options.shift_);
  switch (options.task_) {
    case Task::kPower:
      return VerifyPower(matrix, options, iterated, vector);
    case Task::kConjugateGradients:
      return VerifyConjugateGradients(matrix, options, iterated, vector);
    case Task::kProduct:
      break;
  }
  return VerifyProduct(matrix, vector);
}

}  // namespace spmv
