#ifndef HSHM_EXAMPLES_SPMV_OPTIONS_H_
#define HSHM_EXAMPLES_SPMV_OPTIONS_H_

#include <cstdint>
#include <string>
#include <vector>

/** The command line. */
namespace spmv {

enum class Task { kProduct, kPower, kConjugateGradients };

struct Options {
  std::string matrix_;         // a file
  uint64_t poisson_side_ = 0;  // instead of a file; 0: not asked for
  Task task_ = Task::kProduct;
  uint64_t repeat_ = 100;  // products
  double shift_ = 0;
  double tolerance_ = 1e-8;
  uint64_t most_iterations_ = 10'000;
  bool is_replicated_ = false;
  bool verify_ = false;
  bool help_ = false;
  std::string output_;       // a file for the resulting vector; empty: none
  uint64_t heap_bytes_ = 0;  // 0: half of what shared memory has free
};

extern const char kUsage[];

/** arguments without the program's name. @throws InputError */
Options ParseOptions(const std::vector<std::string>& arguments);

}  // namespace spmv

#endif  // HSHM_EXAMPLES_SPMV_OPTIONS_H_
