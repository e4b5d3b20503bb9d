#ifndef HSHM_UNIT_TESTS_FUZZ_TARGETS_INPUT_H_
#define HSHM_UNIT_TESTS_FUZZ_TARGETS_INPUT_H_

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>

namespace hshm::fuzz {

/** What libFuzzer has made up, read from front to end; behind the end there are zeros. */
class Input {
 public:
  Input(const uint8_t* bytes, size_t size) : at_(bytes), left_(size) {}

  bool IsEmpty() const { return left_ == 0; }

  template <typename T>
  T Take() {
    T value = 0;
    Copy(&value, sizeof(value));
    return value;
  }
  /** @return how many bytes there were */
  size_t Copy(void* to, size_t size) {
    const size_t given = std::min(size, left_);
    std::memcpy(to, at_, given);
    at_ += given;
    left_ -= given;
    return given;
  }

 private:
  const uint8_t* at_;
  size_t left_;
};

}  // namespace hshm::fuzz

#endif  // HSHM_UNIT_TESTS_FUZZ_TARGETS_INPUT_H_
