#ifndef HSHM_PLATFORM_PRIVATE_PAGES_H_
#define HSHM_PLATFORM_PRIVATE_PAGES_H_

#include <cstdint>
#include <type_traits>
#include <utility>

#include "hermes_shm/base/check.h"
#include "hermes_shm/base/macros.h"

namespace hshm {

enum class ForkRule {
  kCopy,  // a forked child has its own copy
  kWipe,  // a forked child finds zeros
};

/** Zeroed pages of this process alone; the system supplies each when it is first touched, so a
 * large reserve costs addresses, not memory. @return 0 or the errno */
[[nodiscard]] HSHM_API int MapPrivate(uint64_t size_bytes, ForkRule rule, void** base) noexcept;
HSHM_API void UnmapPrivate(void* base, uint64_t size_bytes) noexcept;

/** Gives whole pages back to the system; when touched again they are supplied anew, zeroed. Pages
 * that are locked in memory stay, zeroed. */
HSHM_API void DropPrivate(void* base, uint64_t size_bytes) noexcept;

/**
 * Owns an array in private pages, all elements zeroed at first: room for the largest case, paid for
 * as it is used, at an address that never changes.
 */
template <typename T>
class PrivatePages {
 public:
  static_assert(std::is_trivially_destructible_v<T>);

  PrivatePages() = default;
  ~PrivatePages() { Release(); }
  PrivatePages(PrivatePages&& other) noexcept
      : items_(std::exchange(other.items_, nullptr)), count_(std::exchange(other.count_, 0)) {}
  PrivatePages& operator=(PrivatePages&& other) noexcept {
    std::swap(items_, other.items_);
    std::swap(count_, other.count_);
    return *this;
  }
  PrivatePages(const PrivatePages&) = delete;
  PrivatePages& operator=(const PrivatePages&) = delete;

  /** Replaces what was there by `count` zeroed elements. @return 0 or the errno; then it is empty
   */
  [[nodiscard]] int Reserve(uint64_t count, ForkRule rule = ForkRule::kCopy) noexcept {
    Release();
    HSHM_CHECK(count <= ~uint64_t{0} / sizeof(T));
    void* base = nullptr;
    const int error = MapPrivate(count * sizeof(T), rule, &base);
    if (error != 0) return error;
    items_ = static_cast<T*>(base);
    count_ = count;
    return 0;
  }

  void Release() noexcept {
    if (items_ != nullptr) UnmapPrivate(items_, count_ * sizeof(T));
    items_ = nullptr;
    count_ = 0;
  }

  T* data() const noexcept { return items_; }
  uint64_t size() const noexcept { return count_; }
  T& operator[](uint64_t index) const noexcept {
    HSHM_ASSERT(index < count_);
    return items_[index];
  }

 private:
  T* items_ = nullptr;
  uint64_t count_ = 0;
};

}  // namespace hshm

#endif  // HSHM_PLATFORM_PRIVATE_PAGES_H_
