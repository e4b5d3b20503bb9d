#ifndef HSHM_EXAMPLES_SPMV_INPUT_ERROR_H_
#define HSHM_EXAMPLES_SPMV_INPUT_ERROR_H_

#include <stdexcept>

namespace spmv {

/** What the user gave cannot be used; what() is one sentence that says why. Exit status 2. */
class InputError : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

}  // namespace spmv

#endif  // HSHM_EXAMPLES_SPMV_INPUT_ERROR_H_
