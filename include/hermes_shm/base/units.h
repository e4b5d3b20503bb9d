#ifndef HSHM_BASE_UNITS_H_
#define HSHM_BASE_UNITS_H_

namespace hshm {

/** Binary multiples: Unit<size_t>::Gigabytes(1) is 2^30 bytes. */
template <typename T>
struct Unit {
  static constexpr T Bytes(T n) { return n; }
  static constexpr T Kilobytes(T n) { return n * (T{1} << 10); }
  static constexpr T Megabytes(T n) { return n * (T{1} << 20); }
  static constexpr T Gigabytes(T n) { return n * (T{1} << 30); }
  static constexpr T Terabytes(T n) { return n * (T{1} << 40); }
};

inline constexpr unsigned long long operator""_KiB(unsigned long long n) { return n << 10; }
inline constexpr unsigned long long operator""_MiB(unsigned long long n) { return n << 20; }
inline constexpr unsigned long long operator""_GiB(unsigned long long n) { return n << 30; }

}  // namespace hshm

#endif  // HSHM_BASE_UNITS_H_
