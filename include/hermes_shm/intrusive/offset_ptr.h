#ifndef HSHM_INTRUSIVE_OFFSET_PTR_H_
#define HSHM_INTRUSIVE_OFFSET_PTR_H_

#include <atomic>
#include <cstddef>
#include <type_traits>

#include "hermes_shm/base/types.h"
#include "hermes_shm/sync/atomic.h"

/**
 * Pointers that mean the same in every process.
 *
 *     process A:  base_A ----------------+ offset ---> block
 *     process B:          base_B --------+ offset ---> block        same offset, other address
 *
 * OffsetPtr<T>  bytes from the start of a region; which region is known from elsewhere
 * ShmPtr<T>     the same with the id of the allocator, for data that names several regions
 * FullPtr<T>    a ShmPtr with the address in this process; must not be stored in shared memory
 *
 * Null is 0 everywhere, so zeroed memory holds null pointers.
 */
namespace hshm::ipc {

template <typename T>
struct FullPtr;

/** An atomic word that copies by load and store, so that what holds it needs no copy of its own. */
class CopyableWord {
 public:
  CopyableWord() = default;
  HSHM_CROSS_FUN constexpr CopyableWord(uint64_t value) noexcept : word_(value) {}
  HSHM_CROSS_FUN CopyableWord(const CopyableWord& other) noexcept : word_(other.word_.load()) {}
  HSHM_CROSS_FUN CopyableWord& operator=(const CopyableWord& other) noexcept {
    word_.store(other.word_.load());
    return *this;
  }
  HSHM_CROSS_FUN uint64_t load(std::memory_order order) const noexcept { return word_.load(order); }
  HSHM_CROSS_FUN void store(uint64_t value, std::memory_order order) noexcept {
    word_.store(value, order);
  }

 private:
  Atomic<uint64_t> word_{0};
};

/**
 * An offset; plain (one writer at a time) or atomic (any process at any time). The plain form is
 * trivially copyable, so it travels in a register.
 */
template <typename T, bool kAtomic>
struct OffsetPtrBase {
  using value_type = T;
  using Word = std::conditional_t<kAtomic, CopyableWord, uint64_t>;
  Word off_{0};

  OffsetPtrBase() = default;
  HSHM_CROSS_FUN constexpr explicit OffsetPtrBase(uint64_t offset) noexcept : off_(offset) {}
  template <bool kOther>
  requires(kOther != kAtomic) HSHM_CROSS_FUN OffsetPtrBase(const OffsetPtrBase<T, kOther>& other)
  noexcept : off_(other.load()) {}
  /** As T* becomes void*. */
  template <typename U, bool kOther>
  requires(std::is_void_v<T> && !std::is_void_v<U>) HSHM_CROSS_FUN
      OffsetPtrBase(const OffsetPtrBase<U, kOther>& other)
  noexcept : off_(other.load()) {}

  HSHM_CROSS_FUN static OffsetPtrBase GetNull() { return OffsetPtrBase(); }

  HSHM_CROSS_FUN size_t load(std::memory_order order = std::memory_order_seq_cst) const noexcept {
    if constexpr (kAtomic) {
      return off_.load(order);
    } else {
      return off_;
    }
  }
  HSHM_CROSS_FUN void store(size_t offset,
                            std::memory_order order = std::memory_order_seq_cst) noexcept {
    if constexpr (kAtomic) {
      off_.store(offset, order);
    } else {
      off_ = offset;
    }
  }
  HSHM_CROSS_FUN bool IsNull() const { return load() == 0; }
  HSHM_CROSS_FUN void SetNull() { store(0); }
  template <typename U>
  HSHM_CROSS_FUN OffsetPtrBase<U, kAtomic> Cast() const {
    return OffsetPtrBase<U, kAtomic>(load());
  }
  HSHM_CROSS_FUN explicit operator bool() const { return !IsNull(); }
  HSHM_CROSS_FUN friend bool operator==(const OffsetPtrBase& a, const OffsetPtrBase& b) {
    return a.load() == b.load();
  }
};

template <typename T = void>
using OffsetPtr = OffsetPtrBase<T, false>;
static_assert(std::is_trivially_copyable_v<OffsetPtr<>>);
template <typename T = void>
using AtomicOffsetPtr = OffsetPtrBase<T, true>;

/** An offset and the allocator whose region it counts in. */
template <typename T, bool kAtomic>
struct ShmPtrBase {
  using value_type = T;
  AllocatorId alloc_id_;
  OffsetPtrBase<T, kAtomic> off_;

  ShmPtrBase() = default;
  HSHM_CROSS_FUN ShmPtrBase(AllocatorId id, uint64_t offset) : alloc_id_(id), off_(offset) {}
  /** As T* becomes void*. */
  template <typename U, bool kOther>
  requires(std::is_void_v<T> && !std::is_void_v<U>) HSHM_CROSS_FUN
      ShmPtrBase(const ShmPtrBase<U, kOther>& other)
      : alloc_id_(other.alloc_id_), off_(other.off_.load()) {}
  HSHM_CROSS_FUN static ShmPtrBase GetNull() { return ShmPtrBase(); }

  HSHM_CROSS_FUN bool IsNull() const { return off_.IsNull(); }
  HSHM_CROSS_FUN void SetNull() { off_.SetNull(); }
  template <typename U>
  HSHM_CROSS_FUN ShmPtrBase<U, kAtomic> Cast() const {
    return ShmPtrBase<U, kAtomic>(alloc_id_, off_.load());
  }
  HSHM_CROSS_FUN explicit operator bool() const { return !IsNull(); }
  HSHM_CROSS_FUN friend bool operator==(const ShmPtrBase& a, const ShmPtrBase& b) {
    return a.alloc_id_ == b.alloc_id_ && a.off_ == b.off_;
  }
};

template <typename T = void>
using ShmPtr = ShmPtrBase<T, false>;
template <typename T = void>
using AtomicShmPtr = ShmPtrBase<T, true>;

template <typename OffsetT, typename T>
inline constexpr bool kIsOffsetOf = false;
template <typename U, bool kAtomic, typename T>
inline constexpr bool kIsOffsetOf<OffsetPtrBase<U, kAtomic>, T> =
    std::is_same_v<U, T> || std::is_void_v<U>;

/** An offset of a T, or of what has no type. */
template <typename OffsetT, typename T>
concept OffsetOf = kIsOffsetOf<OffsetT, T>;

/** An allocator's class whose calls kernels can make: AllocatorView. */
template <typename AllocT>
concept InKernels = AllocT::kInKernels;

/** A block as this process sees it: its address, and what to tell others. */
template <typename T = char>
struct FullPtr {
  using value_type = T;
  T* ptr_ = nullptr;
  ShmPtr<T> shm_;

  FullPtr() = default;
  HSHM_CROSS_FUN FullPtr(AllocatorId id, T* ptr, uint64_t offset) : ptr_(ptr), shm_(id, offset) {}
  /** What lies at an offset of the region of alloc (any class with GetId and Convert); one without
   * a type is what AllocateOffset returned. Of the host's allocators on the host alone. */
  template <typename AllocT>
  FullPtr(const AllocT* alloc, uint64_t offset)
      : ptr_(alloc->template Convert<T>(OffsetPtr<T>(offset))), shm_(alloc->GetId(), offset) {}
  template <typename AllocT, OffsetOf<T> OffsetT>
  FullPtr(const AllocT* alloc, const OffsetT& offset) : FullPtr(alloc, offset.load()) {}
  /** The same in kernels. */
  template <InKernels AllocT>
  HSHM_CROSS_FUN FullPtr(const AllocT* alloc, uint64_t offset)
      : ptr_(alloc->template Convert<T>(OffsetPtr<T>(offset))), shm_(alloc->GetId(), offset) {}
  template <InKernels AllocT, OffsetOf<T> OffsetT>
  HSHM_CROSS_FUN FullPtr(const AllocT* alloc, const OffsetT& offset)
      : FullPtr(alloc, offset.load()) {}
  HSHM_CROSS_FUN static FullPtr GetNull() { return FullPtr(); }

  HSHM_CROSS_FUN bool IsNull() const { return ptr_ == nullptr; }
  HSHM_CROSS_FUN void SetNull() { *this = FullPtr(); }
  HSHM_CROSS_FUN T* get() const { return ptr_; }
  HSHM_CROSS_FUN T* operator->() const { return ptr_; }
  HSHM_CROSS_FUN std::add_lvalue_reference_t<T> operator*() const requires(!std::is_void_v<T>) {
    return *ptr_;
  }
  template <typename U>
  HSHM_CROSS_FUN FullPtr<U> Cast() const {
    return FullPtr<U>(shm_.alloc_id_, reinterpret_cast<U*>(ptr_), shm_.off_.load());
  }
  HSHM_CROSS_FUN explicit operator bool() const { return ptr_ != nullptr; }
  HSHM_CROSS_FUN friend bool operator==(const FullPtr& a, const FullPtr& b) {
    return a.ptr_ == b.ptr_;
  }
};

}  // namespace hshm::ipc

#endif  // HSHM_INTRUSIVE_OFFSET_PTR_H_
