#ifndef HSHM_GPU_SYSTEM_ATOMIC_REF_H_
#define HSHM_GPU_SYSTEM_ATOMIC_REF_H_

#include "hermes_shm/base/macros.h"

#if HSHM_CUDA_COMPILER || HSHM_HIP_COMPILER

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <type_traits>

#if HSHM_CUDA_COMPILER
#include <cuda/atomic>
#endif

/**
 * What std::atomic_ref is to host code, for kernels: atomic access to a word that other devices and
 * the host may access too, so the scope is always the whole system.
 *
 * On memory of the host a read-modify-write of a GPU is atomic only against others of that GPU,
 * unless the device reports hostNativeAtomicSupported. Loads and stores always are. So each word is
 * read-modified-written by one side; the other loads with acquire and stores with release.
 */
namespace hshm::gpu {

namespace detail {
template <size_t kBytes>
struct WordOf;
template <>
struct WordOf<1> {
  using type = uint8_t;
};
template <>
struct WordOf<2> {
  using type = uint16_t;
};
template <>
struct WordOf<4> {
  using type = uint32_t;
};
template <>
struct WordOf<8> {
  using type = uint64_t;
};

/** What a compare-exchange that fails may have at most: it writes nothing. */
HSHM_GPU_FUN constexpr std::memory_order FailureOrder(std::memory_order success) {
  if (success == std::memory_order_acq_rel) return std::memory_order_acquire;  // pairs with as told
  // relaxed: there is nothing to release
  return success == std::memory_order_release ? std::memory_order_relaxed : success;
}
}  // namespace detail

#if HSHM_CUDA_COMPILER
/** The few operations on a whole word, as the CUDA toolkit spells them. */
template <typename Word>
struct SystemWord {
  using Ref = cuda::atomic_ref<Word, cuda::thread_scope_system>;
  HSHM_GPU_FUN static constexpr cuda::memory_order Order(std::memory_order order) {
    return static_cast<cuda::memory_order>(order);
  }

  HSHM_GPU_FUN static Word Load(Word* at, std::memory_order order) {
    return Ref(*at).load(Order(order));
  }
  HSHM_GPU_FUN static void Store(Word* at, Word value, std::memory_order order) {
    Ref(*at).store(value, Order(order));
  }
  HSHM_GPU_FUN static Word Exchange(Word* at, Word value, std::memory_order order) {
    return Ref(*at).exchange(value, Order(order));
  }
  HSHM_GPU_FUN static bool CompareExchange(Word* at, Word& expected, Word desired,
                                           std::memory_order success, std::memory_order failure) {
    return Ref(*at).compare_exchange_strong(expected, desired, Order(success), Order(failure));
  }
  HSHM_GPU_FUN static Word FetchAdd(Word* at, Word by, std::memory_order order) {
    return Ref(*at).fetch_add(by, Order(order));
  }
  HSHM_GPU_FUN static Word FetchOr(Word* at, Word bits, std::memory_order order) {
    return Ref(*at).fetch_or(bits, Order(order));
  }
  HSHM_GPU_FUN static Word FetchAnd(Word* at, Word bits, std::memory_order order) {
    return Ref(*at).fetch_and(bits, Order(order));
  }
};
#else
/**
 * The few operations on a whole word, as HIP's compiler spells them. Of words below 4 bytes AMD's
 * GPUs know none but loads and stores; the compiler makes a compare-exchange of the 4 bytes around.
 */
template <typename Word>
struct SystemWord {
  static constexpr bool kIsSmall = sizeof(Word) < 4;
  HSHM_GPU_FUN static constexpr int Order(std::memory_order order) {
    return static_cast<int>(order);
  }

  HSHM_GPU_FUN static Word Load(Word* at, std::memory_order order) {
    return __hip_atomic_load(at, Order(order), __HIP_MEMORY_SCOPE_SYSTEM);
  }
  HSHM_GPU_FUN static void Store(Word* at, Word value, std::memory_order order) {
    __hip_atomic_store(at, value, Order(order), __HIP_MEMORY_SCOPE_SYSTEM);
  }
  HSHM_GPU_FUN static Word Exchange(Word* at, Word value, std::memory_order order) {
    if constexpr (kIsSmall) {
      return Change(at, order, [&](Word) { return value; });
    } else {
      return __hip_atomic_exchange(at, value, Order(order), __HIP_MEMORY_SCOPE_SYSTEM);
    }
  }
  HSHM_GPU_FUN static bool CompareExchange(Word* at, Word& expected, Word desired,
                                           std::memory_order success, std::memory_order failure) {
    return __hip_atomic_compare_exchange_strong(at, &expected, desired, Order(success),
                                                Order(failure), __HIP_MEMORY_SCOPE_SYSTEM);
  }
  HSHM_GPU_FUN static Word FetchAdd(Word* at, Word by, std::memory_order order) {
    if constexpr (kIsSmall) {
      return Change(at, order, [&](Word old) { return static_cast<Word>(old + by); });
    } else {
      return __hip_atomic_fetch_add(at, by, Order(order), __HIP_MEMORY_SCOPE_SYSTEM);
    }
  }
  HSHM_GPU_FUN static Word FetchOr(Word* at, Word bits, std::memory_order order) {
    if constexpr (kIsSmall) {
      return Change(at, order, [&](Word old) { return static_cast<Word>(old | bits); });
    } else {
      return __hip_atomic_fetch_or(at, bits, Order(order), __HIP_MEMORY_SCOPE_SYSTEM);
    }
  }
  HSHM_GPU_FUN static Word FetchAnd(Word* at, Word bits, std::memory_order order) {
    if constexpr (kIsSmall) {
      return Change(at, order, [&](Word old) { return static_cast<Word>(old & bits); });
    } else {
      return __hip_atomic_fetch_and(at, bits, Order(order), __HIP_MEMORY_SCOPE_SYSTEM);
    }
  }

 private:
  /** @return what was there before. No lane waits for another: one of each round succeeds. */
  template <typename NewOf>
  HSHM_GPU_FUN static Word Change(Word* at, std::memory_order order, const NewOf& new_of) {
    Word old = Load(at, std::memory_order_relaxed);  // relaxed: the exchange reads it again
    while (!CompareExchange(at, old, new_of(old), order, std::memory_order_relaxed)) {  // relaxed
    }
    return old;
  }
};
#endif

/** A T of 1, 2, 4 or 8 bytes, aligned to its size. Reads like std::atomic_ref. */
template <typename T>
class SystemAtomicRef {
  using Word = typename detail::WordOf<sizeof(T)>::type;
  using Ops = SystemWord<Word>;

 public:
  HSHM_GPU_FUN explicit SystemAtomicRef(T& value) : at_(reinterpret_cast<Word*>(&value)) {}

  HSHM_GPU_FUN T load(std::memory_order order) const { return ToValue(Ops::Load(at_, order)); }
  HSHM_GPU_FUN void store(T value, std::memory_order order) const {
    Ops::Store(at_, ToWord(value), order);
  }
  HSHM_GPU_FUN T exchange(T value, std::memory_order order) const {
    return ToValue(Ops::Exchange(at_, ToWord(value), order));
  }
  HSHM_GPU_FUN bool compare_exchange_strong(T& expected, T desired, std::memory_order success,
                                            std::memory_order failure) const {
    Word word = ToWord(expected);
    if (Ops::CompareExchange(at_, word, ToWord(desired), success, failure)) return true;
    expected = ToValue(word);
    return false;
  }
  HSHM_GPU_FUN bool compare_exchange_strong(T& expected, T desired, std::memory_order order) const {
    return compare_exchange_strong(expected, desired, order, detail::FailureOrder(order));
  }
  /** No GPU has one that is cheaper for failing now and then. */
  template <typename... Orders>
  HSHM_GPU_FUN bool compare_exchange_weak(T& expected, T desired, Orders... orders) const {
    return compare_exchange_strong(expected, desired, orders...);
  }
  HSHM_GPU_FUN T fetch_add(T by, std::memory_order order) const {
    return ToValue(Ops::FetchAdd(at_, ToWord(by), order));
  }
  HSHM_GPU_FUN T fetch_sub(T by, std::memory_order order) const {
    return ToValue(Ops::FetchAdd(at_, static_cast<Word>(0 - ToWord(by)), order));
  }
  HSHM_GPU_FUN T fetch_or(T bits, std::memory_order order) const {
    return ToValue(Ops::FetchOr(at_, ToWord(bits), order));
  }
  HSHM_GPU_FUN T fetch_and(T bits, std::memory_order order) const {
    return ToValue(Ops::FetchAnd(at_, ToWord(bits), order));
  }

 private:
  HSHM_GPU_FUN static Word ToWord(T value) { return __builtin_bit_cast(Word, value); }
  HSHM_GPU_FUN static T ToValue(Word word) { return __builtin_bit_cast(T, word); }

  Word* at_;
};

}  // namespace hshm::gpu

#endif  // HSHM_CUDA_COMPILER || HSHM_HIP_COMPILER

#endif  // HSHM_GPU_SYSTEM_ATOMIC_REF_H_
