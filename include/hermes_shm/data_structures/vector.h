#ifndef HSHM_DATA_STRUCTURES_VECTOR_H_
#define HSHM_DATA_STRUCTURES_VECTOR_H_

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <iterator>
#include <limits>
#include <memory>
#include <span>
#include <utility>

#include "hermes_shm/base/check.h"
#include "hermes_shm/data_structures/shareable.h"
#include "hermes_shm/data_structures/structure_guard.h"
#include "hermes_shm/data_structures/vector/layout.h"
#include "hermes_shm/sync/program_order.h"

namespace hshm::ipc {

/**
 * A growing array in the region, with the interface of std::vector as far as it can fail silently:
 * what needs memory says so by false or null when there is none, and the vector is as before.
 *
 * One rank changes it at a time, and nobody reads meanwhile: under Lock(), or by turns. One case is
 * looser: while one rank appends (push_back, emplace_back, append) and the capacity suffices,
 * others may read the elements below a size() that they asked for.
 *
 * Invariant  The elements are [0, size_) of blocks_[active_], unless gap_state_ tells of a gap.
 * Ordering   The writer releases each store after what it tells of; size() acquires.
 * ABA        None: one writer.
 * Crash      Appending and popping happen by one store of size_, growth by one of active_, an
 *            insertion elsewhere by size_, an erasure by gap_state_. An assignment makes room,
 *            empties the vector and fills it, a store each. The next writer finds an open
 *            gap and closes it, and a block that is not active and frees it, each repeatable.
 *            Whoever reads first after a death must hold Lock() or call Recover(). Lost is at most
 *            one block, between its allocation and its note, or between the note's end and its
 *            free. docs/data_structures.md has the table.
 *
 * A handle: lies in private memory, may be copied, owns nothing. Iterators and pointers hold in
 * this process until the next growth, as in std::vector.
 */
template <Shareable T, typename AllocT>
class vector {
 public:
  using value_type = T;
  using allocator_type = AllocT;
  using size_type = uint64_t;
  using difference_type = int64_t;
  using reference = T&;
  using const_reference = const T&;
  using iterator = T*;
  using const_iterator = const T*;
  using reverse_iterator = std::reverse_iterator<iterator>;
  using const_reverse_iterator = std::reverse_iterator<const_iterator>;

  vector() = default;

  // ---- life cycle ------------------------------------------------------------------------------

  /** Makes a vector of these elements. @throws Error kNoSpace; kBackendInUse: the handle has one */
  void shm_init(AllocT* alloc, std::span<const T> elements = {},
                const MemContext& ctx = HSHM_DEFAULT_MEM_CTX);

  /** Joins a vector that another rank has made. @throws Error kBackendInUse; see FindObject */
  void shm_attach(AllocT* alloc, OffsetPtr<> offset) {
    RequireEmptyHandle(header_.get(), kKind);
    FindObject(ReachOf(*alloc, offset), offset.load(), sizeof(Header), kKind);
    Use(alloc, ObjectAt<Header>(*alloc, offset));
  }

  /** The handle is empty again; the vector stays. */
  void shm_detach() noexcept { *this = vector(); }

  /** Frees the elements and the vector. From the call on no rank may use it: caller's duty. */
  void shm_destroy(const MemContext& ctx = HSHM_DEFAULT_MEM_CTX) noexcept;

  /** What the others attach to; null for an empty handle. */
  OffsetPtr<> offset() const noexcept {
    return header_.get() == nullptr ? OffsetPtr<>()
                                    : OffsetPtr<>(alloc_->GetRegion().OffsetOf(header_.get()));
  }

  /** Holds the vector's lock while the result lives. Not recursive, not for two threads' handles
   * of one call chain. A vector whose last holder died has been mended. */
  [[nodiscard]] StructureGuard Lock(const MemContext& ctx = HSHM_DEFAULT_MEM_CTX) noexcept {
    Mutex& lock = header_->lock_;
    return StructureGuard(*this, lock, alloc_->GetMembership().IdentityOrRejoin(), ctx);
  }

  /** Mends what a writer left that died inside an operation. Nobody else may use the vector. */
  void Recover(const MemContext& ctx = HSHM_DEFAULT_MEM_CTX) noexcept;

  // ---- elements --------------------------------------------------------------------------------

  size_type size() const noexcept {
    return header_->size_.load(std::memory_order_acquire);  // pairs with Put of the writer
  }
  bool empty() const noexcept { return size() == 0; }
  size_type capacity() const noexcept { return Get(header_->capacities_[Active()]); }
  static constexpr size_type max_size() noexcept {
    return static_cast<uint64_t>(std::numeric_limits<int64_t>::max()) / sizeof(T);
  }

  T* data() noexcept { return Elements(); }
  const T* data() const noexcept { return Elements(); }
  T& operator[](size_type index) noexcept {
    HSHM_ASSERT(index < size());
    return Elements()[index];
  }
  const T& operator[](size_type index) const noexcept {
    HSHM_ASSERT(index < size());
    return Elements()[index];
  }
  T& front() noexcept { return (*this)[0]; }
  const T& front() const noexcept { return (*this)[0]; }
  T& back() noexcept { return (*this)[size() - 1]; }
  const T& back() const noexcept { return (*this)[size() - 1]; }
  operator std::span<T>() noexcept { return {data(), size()}; }              // NOLINT: a view
  operator std::span<const T>() const noexcept { return {data(), size()}; }  // NOLINT: a view

  iterator begin() noexcept { return data(); }
  iterator end() noexcept { return data() + size(); }
  const_iterator begin() const noexcept { return data(); }
  const_iterator end() const noexcept { return data() + size(); }
  const_iterator cbegin() const noexcept { return begin(); }
  const_iterator cend() const noexcept { return end(); }
  reverse_iterator rbegin() noexcept { return reverse_iterator(end()); }
  reverse_iterator rend() noexcept { return reverse_iterator(begin()); }
  const_reverse_iterator rbegin() const noexcept { return const_reverse_iterator(end()); }
  const_reverse_iterator rend() const noexcept { return const_reverse_iterator(begin()); }
  const_reverse_iterator crbegin() const noexcept { return rbegin(); }
  const_reverse_iterator crend() const noexcept { return rend(); }

  // ---- appending and taking from the end -------------------------------------------------------

  /** False when there is no room. */
  [[nodiscard]] bool push_back(const T& value,
                               const MemContext& ctx = HSHM_DEFAULT_MEM_CTX) noexcept {
    return AppendOne(value, ctx) != nullptr;
  }
  /** The new element; null when there is no room. */
  template <typename... Args>
  [[nodiscard]] T* emplace_back(Args&&... args) {
    return AppendOne(T(std::forward<Args>(args)...), HSHM_DEFAULT_MEM_CTX);
  }
  /** All of them or, when there is no room, none. They may be elements of this vector. */
  [[nodiscard]] bool append(std::span<const T> elements,
                            const MemContext& ctx = HSHM_DEFAULT_MEM_CTX) noexcept;
  void pop_back() noexcept {
    Mend();
    HSHM_CHECK(!empty());
    Put(header_->size_, size() - 1);
  }

  // ---- changing elsewhere ----------------------------------------------------------------------

  /** Puts the value in front of pos. Null when there is no room, else where it is. */
  [[nodiscard]] iterator insert(const_iterator pos, const T& value,
                                const MemContext& ctx = HSHM_DEFAULT_MEM_CTX) noexcept {
    return insert(pos, 1, value, ctx);
  }
  /** As above for several, which must not be elements of this vector unless it is one alone. */
  [[nodiscard]] iterator insert(const_iterator pos, std::span<const T> elements,
                                const MemContext& ctx = HSHM_DEFAULT_MEM_CTX) noexcept;
  /** As above for count copies of the value, which may be an element of this vector. */
  [[nodiscard]] iterator insert(const_iterator pos, size_type count, const T& value,
                                const MemContext& ctx = HSHM_DEFAULT_MEM_CTX) noexcept {
    const T copy = value;
    return InsertWith(
        pos, count, [&](T* gap) { std::uninitialized_fill_n(gap, count, copy); }, ctx);
  }
  /** As above for what lies between two iterators, which may neither throw nor lead into this
   * vector. */
  template <std::forward_iterator Iterator>
  [[nodiscard]] iterator insert(const_iterator pos, Iterator first, Iterator last,
                                const MemContext& ctx = HSHM_DEFAULT_MEM_CTX) noexcept {
    const auto count = static_cast<size_type>(std::distance(first, last));
    return InsertWith(
        pos, count, [&](T* gap) { std::uninitialized_copy(first, last, gap); }, ctx);
  }
  template <typename... Args>
  [[nodiscard]] iterator emplace(const_iterator pos, Args&&... args) {
    const T value(std::forward<Args>(args)...);
    return insert(pos, value);
  }
  /** @return what follows the last one erased */
  iterator erase(const_iterator pos) noexcept { return erase(pos, pos + 1); }
  iterator erase(const_iterator first, const_iterator last) noexcept;

  /** Keeps the memory. */
  void clear() noexcept {
    Mend();
    Put(header_->size_, 0);
  }
  /** False when there is no room. New elements are T(), or copies of value. */
  [[nodiscard]] bool resize(size_type count,
                            const MemContext& ctx = HSHM_DEFAULT_MEM_CTX) noexcept {
    return resize(count, T(), ctx);
  }
  [[nodiscard]] bool resize(size_type count, const T& value,
                            const MemContext& ctx = HSHM_DEFAULT_MEM_CTX) noexcept;
  /** The vector becomes these elements, which may be some of its own. False when there is no room,
   * and nothing changed; a death in the middle may leave it empty. */
  [[nodiscard]] bool assign(std::span<const T> elements,
                            const MemContext& ctx = HSHM_DEFAULT_MEM_CTX) noexcept {
    const size_type count = elements.size();
    return AssignWith(
        count, [&](T* to) { Copy(to, elements.data(), count); }, ctx);
  }
  /** As above with count copies of the value. */
  [[nodiscard]] bool assign(size_type count, const T& value,
                            const MemContext& ctx = HSHM_DEFAULT_MEM_CTX) noexcept {
    const T copy = value;
    return AssignWith(
        count, [&](T* to) { std::uninitialized_fill_n(to, count, copy); }, ctx);
  }
  /** As above with what lies between two iterators, which may neither throw nor lead into this
   * vector. */
  template <std::forward_iterator Iterator>
  [[nodiscard]] bool assign(Iterator first, Iterator last,
                            const MemContext& ctx = HSHM_DEFAULT_MEM_CTX) noexcept {
    const auto count = static_cast<size_type>(std::distance(first, last));
    return AssignWith(
        count, [&](T* to) { std::uninitialized_copy(first, last, to); }, ctx);
  }

  // ---- memory ----------------------------------------------------------------------------------

  /** Makes room for so many elements in all. False when there is none. */
  [[nodiscard]] bool reserve(size_type count,
                             const MemContext& ctx = HSHM_DEFAULT_MEM_CTX) noexcept {
    Mend(ctx);
    return count <= capacity() || MoveTo(count, ctx);
  }
  /** Gives back what it does not need; the elements move. False when the smaller block could not be
   * had, and nothing changed. */
  bool shrink_to_fit(const MemContext& ctx = HSHM_DEFAULT_MEM_CTX) noexcept {
    Mend(ctx);
    return size() == capacity() || MoveTo(size(), ctx);
  }

  /** Whether the header makes sense and no change is under way. For tests and after deaths. */
  [[nodiscard]] bool Check() const noexcept;

 private:
  using Header = vector_layout::VectorHeader;
  using GapState = vector_layout::GapState;
  static constexpr ObjectKind kKind = {"a vector", vector_layout::kVectorMagic,
                                       vector_layout::kVectorLayoutVersion, sizeof(T), 0};
  /** A first block of a cache line: smaller ones only move sooner. */
  static constexpr uint64_t kFirstCapacity =
      sizeof(T) < kCacheLineBytes ? kCacheLineBytes / sizeof(T) : 1;

  /** relaxed: the one writer, or the lock, orders it. */
  template <typename W>
  static W Get(const Atomic<W>& word) noexcept {
    return word.load(std::memory_order_relaxed);  // relaxed: as above
  }
  /** Keeps its place among the stores before and behind it, so that a death cuts them in order. */
  template <typename W>
  static void Put(Atomic<W>& word, std::type_identity_t<W> value) noexcept {
    word.store(value, std::memory_order_release);  // pairs with size()
    KeepProgramOrder();
  }

  void Use(AllocT* alloc, Header* header) noexcept {
    alloc_ = alloc;
    header_ = header;
    base_ = alloc->GetRegion().base_;
  }
  uint32_t Active() const noexcept { return Get(header_->active_) & 1; }
  T* Elements() const noexcept {
    return reinterpret_cast<T*>(base_ + Get(header_->blocks_[Active()]));
  }
  GapState State() const noexcept { return static_cast<GapState>(Get(header_->gap_state_)); }
  void SetState(GapState state) noexcept { Put(header_->gap_state_, static_cast<uint64_t>(state)); }

  /** Every change begins with it: there is one writer, so an open gap is a dead one's. */
  void Mend(const MemContext& ctx = HSHM_DEFAULT_MEM_CTX) noexcept {
    if (HSHM_UNLIKELY(State() != GapState::kNone)) Recover(ctx);
  }

  HSHM_INLINE T* AppendOne(const T& value, const MemContext& ctx) noexcept;
  HSHM_NOINLINE T* AppendWithGrowth(const T& value, const MemContext& ctx) noexcept;
  /** Room for `more` elements behind those that are there. */
  bool GrowFor(uint64_t more, const MemContext& ctx) noexcept;
  bool MoveTo(uint64_t capacity, const MemContext& ctx) noexcept;
  void DropInactive(const MemContext& ctx) noexcept;
  Offset AllocateBlock(uint64_t capacity, const MemContext& ctx) noexcept;
  /** They may overlap: assign takes elements of the vector itself. */
  static void Copy(T* to, const T* from, uint64_t count) noexcept {
    if (count != 0) std::memmove(static_cast<void*>(to), from, count * sizeof(T));
  }

  /** fill(T*) writes the new elements; it is given the place of the first. */
  template <typename Fill>
  iterator InsertWith(const_iterator pos, uint64_t count, const Fill& fill,
                      const MemContext& ctx) noexcept;
  template <typename Fill>
  bool AssignWith(uint64_t count, const Fill& fill, const MemContext& ctx) noexcept;
  void BeginGap(GapState state, uint64_t cursor, uint64_t count, uint64_t size) noexcept;
  void OpenGap(uint64_t index) noexcept;
  void CloseGap() noexcept;

  AllocT* alloc_ = nullptr;
  ObjectLink<Header, &kKind> header_;
  char* base_ = nullptr;
};

template <typename T, typename AllocT>
bool operator==(const vector<T, AllocT>& a, const vector<T, AllocT>& b) noexcept {
  return std::equal(a.begin(), a.end(), b.begin(), b.end());
}

}  // namespace hshm::ipc

#include "hermes_shm/data_structures/vector/implementation.h"

#endif  // HSHM_DATA_STRUCTURES_VECTOR_H_
