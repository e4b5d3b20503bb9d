#ifndef HSHM_PLATFORM_FORKED_H_
#define HSHM_PLATFORM_FORKED_H_

#include <type_traits>

#include "hermes_shm/platform/private_pages.h"

namespace hshm {

/**
 * One T that a forked child finds zeroed, on a page of its own: how a process remembers who it is
 * without its children believing to be the same. Empty until Map.
 */
template <typename T>
class WipeOnForkPage {
 public:
  static_assert(std::is_trivially_copyable_v<T>);

  /** Makes a zeroed T. @return 0 or the errno */
  [[nodiscard]] int Map() noexcept { return page_.Reserve(1, ForkRule::kWipe); }
  void Unmap() noexcept { page_.Release(); }

  bool IsMapped() const noexcept { return page_.data() != nullptr; }
  T* get() const noexcept { return page_.data(); }
  T* operator->() const noexcept { return page_.data(); }
  T& operator*() const noexcept { return *page_.data(); }

 private:
  PrivatePages<T> page_;
};

}  // namespace hshm

#endif  // HSHM_PLATFORM_FORKED_H_
