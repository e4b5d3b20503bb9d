#ifndef HSHM_SYNC_ATOMIC_H_
#define HSHM_SYNC_ATOMIC_H_

#include <atomic>
#include <bit>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <type_traits>

#include "hermes_shm/base/macros.h"
#include "hermes_shm/gpu/system_atomic_ref.h"

namespace hshm {

namespace detail {
#if HSHM_IS_GPU
template <typename T>
using AtomicRef = gpu::SystemAtomicRef<T>;
#else

/**
 * As std::atomic_ref, for a struct of two or more words that lies at a multiple of its size. clang
 * looks at the type's own alignment alone and would call libatomic, which nobody links.
 */
template <typename T>
class WordRef {
  template <size_t kBytes>
  using UnsignedOf = std::conditional_t<kBytes == 8, uint64_t,
                                        std::conditional_t<kBytes == 4, uint32_t, uint16_t>>;
  using Word = UnsignedOf<sizeof(T)>;
  using Storage [[gnu::may_alias]] = Word;

 public:
  explicit WordRef(T& value) noexcept : at_(reinterpret_cast<Storage*>(&value)) {}

  T load(std::memory_order order) const noexcept {
    return std::bit_cast<T>(Word{__atomic_load_n(at_, static_cast<int>(order))});
  }
  void store(T value, std::memory_order order) const noexcept {
    __atomic_store_n(at_, std::bit_cast<Word>(value), static_cast<int>(order));
  }
  T exchange(T value, std::memory_order order) const noexcept {
    return std::bit_cast<T>(
        Word{__atomic_exchange_n(at_, std::bit_cast<Word>(value), static_cast<int>(order))});
  }
  bool compare_exchange_weak(T& expected, T desired, std::memory_order order) const noexcept {
    return CompareExchange(expected, desired, true, order, FailureOf(order));
  }
  bool compare_exchange_weak(T& expected, T desired, std::memory_order success,
                             std::memory_order failure) const noexcept {
    return CompareExchange(expected, desired, true, success, failure);
  }
  bool compare_exchange_strong(T& expected, T desired, std::memory_order order) const noexcept {
    return CompareExchange(expected, desired, false, order, FailureOf(order));
  }
  bool compare_exchange_strong(T& expected, T desired, std::memory_order success,
                               std::memory_order failure) const noexcept {
    return CompareExchange(expected, desired, false, success, failure);
  }

 private:
  /** A failure stores nothing, so it cannot release; what it acquires pairs as the caller says. */
  static constexpr std::memory_order FailureOf(std::memory_order order) noexcept {
    switch (order) {
      case std::memory_order_acq_rel:      // pairs with what the caller names
        return std::memory_order_acquire;  // pairs with the same
      case std::memory_order_release:      // pairs with what the caller names
        return std::memory_order_relaxed;  // relaxed: the caller asked for no acquire
      default:
        return order;
    }
  }
  bool CompareExchange(T& expected, T desired, bool weak, std::memory_order success,
                       std::memory_order failure) const noexcept {
    Word found = std::bit_cast<Word>(expected);
    const bool is_done =
        __atomic_compare_exchange_n(at_, &found, std::bit_cast<Word>(desired), weak,
                                    static_cast<int>(success), static_cast<int>(failure));
    if (!is_done) expected = std::bit_cast<T>(found);
    return is_done;
  }

  Storage* at_;
};

template <typename T>
using AtomicRef = std::conditional_t<alignof(T) == sizeof(T), std::atomic_ref<T>, WordRef<T>>;
#endif
}  // namespace detail

/**
 * A word that several threads, processes or a device may change at the same time. Lies in shared
 * memory: as large as T, aligned to its size, always lock-free, and zeroed memory holds T{}.
 * Reads and writes like std::atomic; orders are sequentially consistent unless others are named.
 *
 * In a kernel each operation has the scope of the whole system. A word that a kernel and the host
 * share is read-modified-written (exchange, compare_exchange, fetch) by one of them only; the other
 * loads and stores: on most machines nothing else is atomic between the two.
 */
template <typename T>
class Atomic {
 public:
  static_assert(std::is_trivially_copyable_v<T>);
  static_assert(sizeof(T) == 1 || sizeof(T) == 2 || sizeof(T) == 4 || sizeof(T) == 8);
  static_assert(std::atomic<T>::is_always_lock_free && std::atomic_ref<T>::is_always_lock_free);

  using value_type = T;

  HSHM_CROSS_FUN constexpr Atomic() noexcept : value_(T{}) {}
  HSHM_CROSS_FUN constexpr Atomic(T value) noexcept : value_(value) {}
  Atomic(const Atomic&) = delete;
  Atomic& operator=(const Atomic&) = delete;

  HSHM_CROSS_FUN T load(std::memory_order order = std::memory_order_seq_cst) const noexcept {
    return Ref().load(order);
  }
  HSHM_CROSS_FUN void store(T value, std::memory_order order = std::memory_order_seq_cst) noexcept {
    Ref().store(value, order);
  }
  HSHM_CROSS_FUN T exchange(T value, std::memory_order order = std::memory_order_seq_cst) noexcept {
    return Ref().exchange(value, order);
  }

  HSHM_CROSS_FUN bool compare_exchange_weak(
      T& expected, T desired, std::memory_order order = std::memory_order_seq_cst) noexcept {
    return Ref().compare_exchange_weak(expected, desired, order);
  }
  HSHM_CROSS_FUN bool compare_exchange_weak(T& expected, T desired, std::memory_order success,
                                            std::memory_order failure) noexcept {
    return Ref().compare_exchange_weak(expected, desired, success, failure);
  }
  HSHM_CROSS_FUN bool compare_exchange_strong(
      T& expected, T desired, std::memory_order order = std::memory_order_seq_cst) noexcept {
    return Ref().compare_exchange_strong(expected, desired, order);
  }
  HSHM_CROSS_FUN bool compare_exchange_strong(T& expected, T desired, std::memory_order success,
                                              std::memory_order failure) noexcept {
    return Ref().compare_exchange_strong(expected, desired, success, failure);
  }

  HSHM_CROSS_FUN T fetch_add(T by, std::memory_order order = std::memory_order_seq_cst) noexcept
      requires std::integral<T> {
    return Ref().fetch_add(by, order);
  }
  HSHM_CROSS_FUN T fetch_sub(T by, std::memory_order order = std::memory_order_seq_cst) noexcept
      requires std::integral<T> {
    return Ref().fetch_sub(by, order);
  }
  HSHM_CROSS_FUN T
  fetch_or(T bits,
           std::memory_order order = std::memory_order_seq_cst) noexcept requires std::integral<T> {
    return Ref().fetch_or(bits, order);
  }
  HSHM_CROSS_FUN T fetch_and(T bits, std::memory_order order = std::memory_order_seq_cst) noexcept
      requires std::integral<T> {
    return Ref().fetch_and(bits, order);
  }

 private:
  using Reference = detail::AtomicRef<T>;
  HSHM_INLINE_CROSS_FUN Reference Ref() const noexcept { return Reference(value_); }

  alignas(sizeof(T)) mutable T value_;
};

static_assert(std::is_standard_layout_v<Atomic<uint64_t>>);
static_assert(std::is_trivially_destructible_v<Atomic<uint64_t>>);
static_assert(sizeof(Atomic<uint8_t>) == 1 && alignof(Atomic<uint8_t>) == 1);
static_assert(sizeof(Atomic<uint16_t>) == 2 && alignof(Atomic<uint16_t>) == 2);
static_assert(sizeof(Atomic<uint32_t>) == 4 && alignof(Atomic<uint32_t>) == 4);
static_assert(sizeof(Atomic<uint64_t>) == 8 && alignof(Atomic<uint64_t>) == 8);

}  // namespace hshm

#endif  // HSHM_SYNC_ATOMIC_H_
