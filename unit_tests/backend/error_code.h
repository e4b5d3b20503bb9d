#ifndef HSHM_UNIT_TESTS_BACKEND_ERROR_CODE_H_
#define HSHM_UNIT_TESTS_BACKEND_ERROR_CODE_H_

#include <ostream>
#include <string>

#include "hermes_shm/base/error.h"

namespace hshm {

/** So that a failed comparison prints the codes' names. */
inline std::ostream& operator<<(std::ostream& out, ErrorCode code) {
  return out << ErrorCodeName(code);
}

namespace ipc::test {

/** What the call throws: its code and sentence; kNone when it throws no Error. */
struct Thrown {
  ErrorCode code_ = ErrorCode::kNone;
  std::string text_;

  bool Says(const std::string& part) const { return text_.find(part) != std::string::npos; }
};

template <typename Call>
Thrown ThrownBy(Call call) {
  try {
    call();
  } catch (const Error& error) {
    return {error.code(), error.what()};
  }
  return {};
}

template <typename Call>
ErrorCode CodeOf(Call call) {
  return ThrownBy(call).code_;
}

}  // namespace ipc::test
}  // namespace hshm

#endif  // HSHM_UNIT_TESTS_BACKEND_ERROR_CODE_H_
