#include "verify.h"

#include <limits>
#include <string>
#include <vector>

#include "catch.h"
#include "poisson.h"
#include "serial.h"
#include "start_vector.h"

namespace spmv {
namespace {

/** What ranks that made no mistake would have found of the Poisson matrix of 6 x 6 points. */
struct Found {
  Found(Task task, double shift) {
    options_.task_ = task;
    options_.shift_ = shift;
    options_.tolerance_ = 1e-5;
    const SerialMatrix matrix(Poisson(6), shift);
    if (task == Task::kProduct) {
      vector_ = matrix.Times(StartVector(matrix.columns()));
      return;
    }
    const SerialResult serial = task == Task::kPower
                                    ? SerialPowerIteration(matrix, options_.tolerance_, 1000)
                                    : SerialConjugateGradients(matrix, options_.tolerance_, 1000);
    iterated_.has_converged_ = serial.has_converged_;
    iterated_.iterations_ = serial.iterations_;
    iterated_.eigenvalue_ = serial.eigenvalue_;
    vector_ = serial.vector_;
  }

  std::string Said() const { return Verify(Poisson(6), options_, iterated_, vector_); }

  Options options_;
  Iterated iterated_;
  std::vector<double> vector_;
};

TEST_CASE("What is verified says so") {
  for (const double shift : {0.0, 0.3}) {
    CHECK(Found(Task::kProduct, shift).Said() ==
          "a serial product differs by 0.0e+00 of a row's magnitude at most");
    const Found power(Task::kPower, shift);
    CHECK(power.iterated_.has_converged_);
    CHECK(power.Said() == "a serial eigenvalue after " +
                              std::to_string(power.iterated_.iterations_) +
                              " iterations differs by 0.0e+00 of itself, the vector by 0.0e+00 "
                              "of its length");
    const Found solved(Task::kConjugateGradients, shift);
    CHECK(solved.iterated_.has_converged_);
    CHECK(solved.Said() == "a serial solution after " +
                               std::to_string(solved.iterated_.iterations_) +
                               " iterations differs by 0.0e+00 of its length");
  }
}

TEST_CASE("An eigenvalue far closer than the iteration's tolerance is refused beyond 1e-12") {
  Found found(Task::kPower, 0.3);
  found.iterated_.eigenvalue_ *= 1 + 1e-11;
  CHECK_THROWS_WITH(found.Said(), "The eigenvalue differs from a serial one by 1.0e-11.");
  found.iterated_.eigenvalue_ /= 1 + 1e-11;
  found.iterated_.eigenvalue_ *= 1 + 1e-13;
  CHECK_NOTHROW(found.Said());
  found.iterated_.eigenvalue_ = std::numeric_limits<double>::quiet_NaN();
  CHECK_THROWS_WITH(found.Said(), "The eigenvalue differs from a serial one by nan.");
}

TEST_CASE("An eigenvector may have the other sign, and one element 1e-11 off is refused") {
  Found found(Task::kPower, 0);
  for (double& element : found.vector_) element = -element;
  CHECK_NOTHROW(found.Said());
  found.vector_[20] += 1e-11;
  CHECK_THROWS_WITH(found.Said(), "The eigenvector differs from a serial one by 1.0e-11.");
  found.vector_[20] = std::numeric_limits<double>::quiet_NaN();
  CHECK_THROWS_WITH(found.Said(), "The eigenvector differs from a serial one by nan.");
}

TEST_CASE("A solution is refused when it is off by more than 1e-12 of its length, or negative") {
  Found found(Task::kConjugateGradients, 0.3);
  const std::vector<double> solution = found.vector_;
  for (double& element : found.vector_) element *= 1 + 1e-11;
  CHECK_THROWS_WITH(found.Said(), "The solution differs from a serial one by 1.0e-11.");
  for (uint64_t i = 0; i < solution.size(); ++i) found.vector_[i] = -solution[i];
  CHECK_THROWS_WITH(found.Said(), "The solution differs from a serial one by 2.0e+00.");
}

TEST_CASE("A product is refused when one element is off by more than 1e-12 of its row, or is nan") {
  Found found(Task::kProduct, 0);
  found.vector_[35] += 1e-11 * (4 * StartValue(35) + StartValue(34) + StartValue(29));
  CHECK_THROWS_WITH(found.Said(), "The product differs from a serial one by 1.0e-11.");
  found.vector_[35] = std::numeric_limits<double>::quiet_NaN();
  CHECK_THROWS_WITH(found.Said(), "The product differs from a serial one by nan.");
}

TEST_CASE("A solver that took one iteration more or less than a serial one is refused") {
  for (const Task task : {Task::kPower, Task::kConjugateGradients}) {
    Found found(task, 0);
    const std::string serial = std::to_string(found.iterated_.iterations_);
    ++found.iterated_.iterations_;
    CHECK_THROWS_WITH(found.Said(), "The ranks stopped after " +
                                        std::to_string(found.iterated_.iterations_) +
                                        " iterations, and one rank alone after " + serial + ".");
    --found.iterated_.iterations_;
    CHECK_NOTHROW(found.Said());
    found.iterated_.has_converged_ = false;
    CHECK_THROWS_AS(found.Said(), std::runtime_error);
  }
}

}  // namespace
}  // namespace spmv
