#ifndef HSHM_BENCH_LOOPS_RANDOM_H_
#define HSHM_BENCH_LOOPS_RANDOM_H_

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <vector>

namespace hshm::bench {

/** xorshift64 (Marsaglia 2003): three shifts, so that the loop measures the allocator. */
class Random {
 public:
  explicit Random(uint64_t seed) noexcept : state_(seed * 0x9e3779b97f4a7c15 + 1) {
    for (int i = 0; i < 8; ++i) Next();  // neighbouring seeds begin alike
  }
  uint64_t Next() noexcept {
    state_ ^= state_ << 13;
    state_ ^= state_ >> 7;
    state_ ^= state_ << 17;
    return state_;
  }
  /** 0 <= result < bound, which is far below 2^32. */
  uint32_t Below(uint32_t bound) noexcept {
    return static_cast<uint32_t>(((Next() >> 32) * bound) >> 32);
  }

 private:
  uint64_t state_;
};

/** Block sizes in bytes, drawn before the clock runs; a power of two of them. */
class Sizes {
 public:
  static constexpr size_t kCount = size_t{1} << 14;

  static Sizes Uniform(uint32_t least, uint32_t most, uint64_t seed) {
    Sizes sizes;
    Random random(seed);
    for (uint32_t& size : sizes.sizes_) size = least + random.Below(most - least + 1);
    return sizes;
  }
  /** As many of 16 to 32 bytes as of 32 to 64, and so on. */
  static Sizes LogUniform(uint32_t least, uint32_t most, uint64_t seed) {
    Sizes sizes;
    Random random(seed);
    const double span = std::log(static_cast<double>(most) / least);
    for (uint32_t& size : sizes.sizes_) {
      const double part = static_cast<double>(random.Next() >> 11) / 9007199254740992.0;  // 2^53
      size = static_cast<uint32_t>(least * std::exp(part * span));
    }
    return sizes;
  }

  uint32_t At(uint64_t random) const noexcept { return sizes_[random & (kCount - 1)]; }

 private:
  std::vector<uint32_t> sizes_ = std::vector<uint32_t>(kCount);
};

}  // namespace hshm::bench

#endif  // HSHM_BENCH_LOOPS_RANDOM_H_
