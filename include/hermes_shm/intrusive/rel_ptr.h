#ifndef HSHM_INTRUSIVE_REL_PTR_H_
#define HSHM_INTRUSIVE_REL_PTR_H_

#include <compare>
#include <cstddef>
#include <cstdint>
#include <iterator>
#include <type_traits>

#include "hermes_shm/base/macros.h"

namespace hshm::ipc {

/**
 * A pointer that holds how far its target lies from itself. Pointer and target in one region mean
 * the same in every process, wherever the region is mapped, and no base is needed to follow it:
 *
 *     process A:   ... | rel_ptr: +400 | ......... | target | ...
 *     process B:              ... | rel_ptr: +400 | ......... | target | ...     the same bytes
 *
 * It behaves like T*: random access, null, conversions to const, void and base. What the standard
 * library calls a fancy pointer (Cpp17NullablePointer, pointer_traits, random access iterator), for
 * containers that are shared; see hshm::allocator. A copy has another distance, so it is not
 * trivially copyable: to move it as bytes is a broken rule. Where a region's base is at hand,
 * OffsetPtr is smaller work.
 *
 * Null is 0, so zeroed memory holds null pointers; a pointer to itself is something else. One
 * writer at a time, as for T*.
 */
template <typename T>
class rel_ptr {
 public:
  using element_type = T;
  using value_type = std::remove_cv_t<T>;
  using difference_type = std::ptrdiff_t;
  using pointer = rel_ptr;
  struct nothing {};  // what a rel_ptr<void> refers to; Boost declares functions that take it
  using reference = std::add_lvalue_reference_t<std::conditional_t<std::is_void_v<T>, nothing, T>>;
  using iterator_category = std::random_access_iterator_tag;
  using iterator_concept = std::contiguous_iterator_tag;
  template <typename U>
  using rebind = rel_ptr<U>;

  HSHM_CROSS_FUN rel_ptr() noexcept : word_(kNull) {}
  /** Also from nullptr, and from 0 as Boost writes it. */
  HSHM_CROSS_FUN rel_ptr(T* target) noexcept : word_(WordFor(target)) {}
  HSHM_CROSS_FUN rel_ptr(const rel_ptr& other) noexcept : word_(WordFor(other.get())) {}
  /** To const, to void, to a base. */
  template <typename U>
  requires(!std::is_same_v<U, T> && std::is_convertible_v<U*, T*>) HSHM_CROSS_FUN
      rel_ptr(const rel_ptr<U>& other)
  noexcept : word_(WordFor(other.get())) {}
  /** What static_cast does to a T*: from void, to a derived class. */
  template <typename U>
  requires(!std::is_convertible_v<U*, T*> &&
           requires(U * from) { static_cast<T*>(from); }) HSHM_CROSS_FUN
      explicit rel_ptr(const rel_ptr<U>& other) noexcept
      : word_(WordFor(static_cast<T*>(other.get()))) {}

  HSHM_CROSS_FUN rel_ptr& operator=(const rel_ptr& other) noexcept {
    word_ = WordFor(other.get());
    return *this;
  }

  /** As pointer_traits wants it. */
  template <typename U = T>
  requires(!std::is_void_v<U>) HSHM_CROSS_FUN static rel_ptr pointer_to(U& target) noexcept {
    return rel_ptr(&target);
  }

  HSHM_CROSS_FUN T* get() const noexcept {
    if (word_ == kNull) return nullptr;
    return reinterpret_cast<T*>(Here() + (word_ ^ kSelf));
  }
  HSHM_CROSS_FUN T* operator->() const noexcept { return get(); }
  template <typename U = T>
  requires(!std::is_void_v<U>) HSHM_CROSS_FUN U& operator*() const noexcept { return *get(); }
  template <typename U = T>
  requires(!std::is_void_v<U>) HSHM_CROSS_FUN U& operator[](difference_type index) const noexcept {
    return get()[index];
  }
  HSHM_CROSS_FUN explicit operator bool() const noexcept { return word_ != kNull; }

  // ---- arithmetic: as for T*, not on null but for + 0 -------------------------------------------

  HSHM_CROSS_FUN rel_ptr& operator+=(difference_type by) noexcept {
    if (by != 0) word_ = WordFor(get() + by);
    return *this;
  }
  HSHM_CROSS_FUN rel_ptr& operator-=(difference_type by) noexcept { return *this += -by; }
  HSHM_CROSS_FUN rel_ptr& operator++() noexcept { return *this += 1; }
  HSHM_CROSS_FUN rel_ptr& operator--() noexcept { return *this -= 1; }
  HSHM_CROSS_FUN rel_ptr operator++(int) noexcept {
    const rel_ptr before = *this;
    ++*this;
    return before;
  }
  HSHM_CROSS_FUN rel_ptr operator--(int) noexcept {
    const rel_ptr before = *this;
    --*this;
    return before;
  }
  HSHM_CROSS_FUN friend rel_ptr operator+(const rel_ptr& ptr, difference_type by) noexcept {
    return rel_ptr(ptr.get() + by);
  }
  HSHM_CROSS_FUN friend rel_ptr operator+(difference_type by, const rel_ptr& ptr) noexcept {
    return rel_ptr(ptr.get() + by);
  }
  HSHM_CROSS_FUN friend rel_ptr operator-(const rel_ptr& ptr, difference_type by) noexcept {
    return rel_ptr(ptr.get() - by);
  }
  HSHM_CROSS_FUN friend difference_type operator-(const rel_ptr& a, const rel_ptr& b) noexcept {
    return a.get() - b.get();
  }

  HSHM_CROSS_FUN friend bool operator==(const rel_ptr& a, const rel_ptr& b) noexcept {
    return a.get() == b.get();
  }
  HSHM_CROSS_FUN friend bool operator==(const rel_ptr& a, std::nullptr_t) noexcept {
    return a.word_ == kNull;
  }
  HSHM_CROSS_FUN friend std::strong_ordering operator<=>(const rel_ptr& a,
                                                         const rel_ptr& b) noexcept {
    return reinterpret_cast<uintptr_t>(a.get()) <=> reinterpret_cast<uintptr_t>(b.get());
  }

 private:
  static constexpr uint64_t kNull = 0;
  /** The distance is stored xor this, so that 0, the distance to itself, is not null. The distance
   * that would look like null is 2^63, which no address space has. */
  static constexpr uint64_t kSelf = uint64_t{1} << 63;

  HSHM_CROSS_FUN uintptr_t Here() const noexcept { return reinterpret_cast<uintptr_t>(this); }
  HSHM_CROSS_FUN uint64_t WordFor(T* target) const noexcept {
    if (target == nullptr) return kNull;
    return (reinterpret_cast<uintptr_t>(target) - Here()) ^ kSelf;
  }

  uint64_t word_;  // [owner]
};
static_assert(sizeof(rel_ptr<int>) == 8);
static_assert(std::is_standard_layout_v<rel_ptr<int>>);
static_assert(std::contiguous_iterator<rel_ptr<int>>);
static_assert(!std::is_trivially_copyable_v<rel_ptr<int>>);

}  // namespace hshm::ipc

#endif  // HSHM_INTRUSIVE_REL_PTR_H_
