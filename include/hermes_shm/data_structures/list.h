#ifndef HSHM_DATA_STRUCTURES_LIST_H_
#define HSHM_DATA_STRUCTURES_LIST_H_

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <functional>
#include <iterator>
#include <utility>

#include "hermes_shm/base/check.h"
#include "hermes_shm/data_structures/list/layout.h"
#include "hermes_shm/data_structures/node_iterator.h"
#include "hermes_shm/data_structures/shareable.h"
#include "hermes_shm/data_structures/structure_guard.h"

namespace hshm::ipc {

/**
 * A doubly linked list in the region, with the interface of std::list as far as it can fail
 * silently. Every element has a block of its own and keeps its place in memory.
 *
 * One rank changes it at a time, and nobody reads meanwhile: under Lock(), or by turns.
 *
 * Invariant  The chain from the front is the list; see pre::list. NodesInHand tells of a change
 *            under way. While order_ is set, the links back from there are the list.
 * Ordering   Lock(), or what the ranks take turns by.
 * ABA        None: one writer.
 * Crash      Every change of one element happens by one store into the chain, another order of
 *            any number by one of order_. The next writer, or who takes Lock() over, finds the
 *            note, rebuilds the links, and frees the node if it is out. Whoever reads first after
 *            a death must hold Lock() or call Recover(). An element on its way from another list
 *            is in neither for a moment: dying then loses it, and at most its block.
 *
 * A handle: lies in private memory, may be copied, owns nothing. Iterators and pointers hold in
 * this process until their element is erased.
 */
template <Shareable T, typename AllocT>
class list {
  using Header = list_layout::ListHeader<T>;
  using Node = list_layout::Node<T>;
  using Chain = pre::list<Node>;

 public:
  using value_type = T;
  using allocator_type = AllocT;
  using size_type = uint64_t;
  using difference_type = int64_t;
  using reference = T&;
  using const_reference = const T&;
  using iterator = NodeIterator<Chain, T>;
  using const_iterator = NodeIterator<Chain, const T>;
  using reverse_iterator = std::reverse_iterator<iterator>;
  using const_reverse_iterator = std::reverse_iterator<const_iterator>;

  list() = default;

  // ---- life cycle ------------------------------------------------------------------------------

  /** Makes an empty list. @throws Error kNoSpace; kBackendInUse: the handle has one */
  void shm_init(AllocT* alloc, const MemContext& ctx = HSHM_DEFAULT_MEM_CTX);

  /** Joins a list that another rank has made. @throws Error kBackendInUse; see FindObject */
  void shm_attach(AllocT* alloc, OffsetPtr<> offset) {
    RequireEmptyHandle(header_.get(), kKind);
    FindObject(ReachOf(*alloc, offset), offset.load(), sizeof(Header), kKind);
    Use(alloc, ObjectAt<Header>(*alloc, offset));
  }

  /** The handle is empty again; the list stays. */
  void shm_detach() noexcept { *this = list(); }

  /** Frees the elements and the list. From the call on no rank may use it: caller's duty. */
  void shm_destroy(const MemContext& ctx = HSHM_DEFAULT_MEM_CTX) noexcept;

  /** What the others attach to; null for an empty handle. */
  OffsetPtr<> offset() const noexcept {
    return header_.get() == nullptr ? OffsetPtr<>()
                                    : OffsetPtr<>(alloc_->GetRegion().OffsetOf(header_.get()));
  }

  /** Holds the list's lock while the result lives. Not recursive. A list whose last holder died has
   * been mended. */
  [[nodiscard]] StructureGuard Lock(const MemContext& ctx = HSHM_DEFAULT_MEM_CTX) noexcept {
    Mutex& lock = header_->lock_;
    return StructureGuard(*this, lock, alloc_->GetMembership().IdentityOrRejoin(), ctx);
  }

  /** Mends what a writer left that died inside an operation. Nobody else may use the list. */
  void Recover(const MemContext& ctx = HSHM_DEFAULT_MEM_CTX) noexcept;

  // ---- elements --------------------------------------------------------------------------------

  size_type size() const noexcept { return header_->chain_.size(); }
  bool empty() const noexcept { return header_->chain_.empty(); }
  T& front() noexcept { return *begin(); }
  const T& front() const noexcept { return *begin(); }
  T& back() noexcept { return *--end(); }
  const T& back() const noexcept { return *--end(); }

  iterator begin() noexcept { return At(header_->chain_.first()); }
  iterator end() noexcept { return At(kNullOffset); }
  const_iterator begin() const noexcept { return cbegin(); }
  const_iterator end() const noexcept { return cend(); }
  const_iterator cbegin() const noexcept { return At(header_->chain_.first()); }
  const_iterator cend() const noexcept { return At(kNullOffset); }
  reverse_iterator rbegin() noexcept { return reverse_iterator(end()); }
  reverse_iterator rend() noexcept { return reverse_iterator(begin()); }
  const_reverse_iterator rbegin() const noexcept { return const_reverse_iterator(end()); }
  const_reverse_iterator rend() const noexcept { return const_reverse_iterator(begin()); }
  const_reverse_iterator crbegin() const noexcept { return rbegin(); }
  const_reverse_iterator crend() const noexcept { return rend(); }

  // ---- changing --------------------------------------------------------------------------------

  /** False when there is no room, as in push_front. */
  [[nodiscard]] bool push_back(const T& value,
                               const MemContext& ctx = HSHM_DEFAULT_MEM_CTX) noexcept {
    return insert(cend(), value, ctx) != end();
  }
  [[nodiscard]] bool push_front(const T& value,
                                const MemContext& ctx = HSHM_DEFAULT_MEM_CTX) noexcept {
    Mend(ctx);  // before the look at the front, which is not the truth while a note is there
    return insert(cbegin(), value, ctx) != end();
  }
  /** The new element; null when there is no room. */
  template <typename... Args>
  [[nodiscard]] T* emplace_back(Args&&... args) {
    return AddressOf(insert(cend(), T(std::forward<Args>(args)...)));
  }
  template <typename... Args>
  [[nodiscard]] T* emplace_front(Args&&... args) {
    const T value(std::forward<Args>(args)...);
    Mend(HSHM_DEFAULT_MEM_CTX);  // as in push_front
    return AddressOf(insert(cbegin(), value));
  }

  /** Puts the value in front of pos. end() when there is no room, else where it is. */
  iterator insert(const_iterator pos, const T& value,
                  const MemContext& ctx = HSHM_DEFAULT_MEM_CTX) noexcept;
  template <typename... Args>
  iterator emplace(const_iterator pos, Args&&... args) {
    return insert(pos, T(std::forward<Args>(args)...));
  }

  /** @return what follows it */
  iterator erase(const_iterator pos, const MemContext& ctx = HSHM_DEFAULT_MEM_CTX) noexcept;
  iterator erase(const_iterator first, const_iterator last,
                 const MemContext& ctx = HSHM_DEFAULT_MEM_CTX) noexcept {
    while (first != last) first = erase(first, ctx);
    return At(last.offset());
  }
  void pop_front(const MemContext& ctx = HSHM_DEFAULT_MEM_CTX) noexcept {
    Mend(ctx);  // as in push_front
    erase(cbegin(), ctx);
  }
  void pop_back(const MemContext& ctx = HSHM_DEFAULT_MEM_CTX) noexcept {
    Mend(ctx);  // as in push_front
    erase(--cend(), ctx);
  }

  /** Erases one after the other; a death leaves the rest. */
  void clear(const MemContext& ctx = HSHM_DEFAULT_MEM_CTX) noexcept {
    Mend(ctx);  // as in push_front
    erase(cbegin(), cend(), ctx);
  }
  /** Erases the elements for which pred(const T&) holds, one after the other. @return how many */
  template <typename Pred>
  size_type remove_if(Pred&& pred, const MemContext& ctx = HSHM_DEFAULT_MEM_CTX);
  /** The same with those that equal the value, which may be one of them. */
  size_type remove(const T& value, const MemContext& ctx = HSHM_DEFAULT_MEM_CTX) {
    const T copy = value;
    return remove_if([&](const T& element) { return element == copy; }, ctx);
  }
  /** The same with each that equals the one in front of it. */
  template <typename Equal = std::equal_to<T>>
  size_type unique(Equal equal = Equal(), const MemContext& ctx = HSHM_DEFAULT_MEM_CTX);

  // ---- another order: no memory is needed, elements keep their place in it ----------------------

  /** Sorts stably; less may not throw. Takes O(size log(size)); a death leaves all as before or all
   * sorted. */
  template <typename Less = std::less<T>>
  void sort(Less less = Less(), const MemContext& ctx = HSHM_DEFAULT_MEM_CTX) noexcept;
  /** A death leaves all as before or all reversed. */
  void reverse(const MemContext& ctx = HSHM_DEFAULT_MEM_CTX) noexcept;

  /**
   * Moves elements of `other`, a list in the same mapping of the same region, in front of pos.
   * Within one list it takes O(1) and happens at once. From another list the elements move one
   * after the other: a death leaves some here and some there, and one of them perhaps in neither.
   * Both lists are the caller's to change.
   */
  void splice(const_iterator pos, list& other, const_iterator first, const_iterator last,
              const MemContext& ctx = HSHM_DEFAULT_MEM_CTX) noexcept;
  void splice(const_iterator pos, list& other, const_iterator it,
              const MemContext& ctx = HSHM_DEFAULT_MEM_CTX) noexcept {
    splice(pos, other, it, std::next(it), ctx);
  }
  void splice(const_iterator pos, list& other,
              const MemContext& ctx = HSHM_DEFAULT_MEM_CTX) noexcept {
    if (header_.get() == other.header_.get()) return;
    other.Mend(ctx);  // before the look at its front
    splice(pos, other, other.cbegin(), other.cend(), ctx);
  }
  /** Moves all of another sorted list in between those of this one, as splice does; equal ones
   * behind those that are here. */
  template <typename Less = std::less<T>>
  void merge(list& other, Less less = Less(), const MemContext& ctx = HSHM_DEFAULT_MEM_CTX);

  /** Whether the links agree in both directions and no change is under way. O(size). */
  [[nodiscard]] bool Check() const noexcept {
    return header_->in_hand_.IsEmpty() && InOrder() && header_->chain_.Check(base_);
  }

 private:
  static constexpr ObjectKind kKind = {"a list", list_layout::kListMagic,
                                       list_layout::kListLayoutVersion, sizeof(T), 0};

  void Use(AllocT* alloc, Header* header) noexcept {
    alloc_ = alloc;
    header_ = header;
    base_ = alloc->GetRegion().base_;
  }
  /** Every change begins with it: there is one writer, so a note is a dead one's. */
  void Mend(const MemContext& ctx) noexcept {
    if (HSHM_UNLIKELY(!header_->in_hand_.IsEmpty())) Recover(ctx);
  }
  bool InOrder() const noexcept {
    return header_->order_.load(std::memory_order_relaxed) == kNullOffset;  // relaxed: the writer's
  }
  /** The links back are the truth, from this element on; null: no more. */
  void SetOrder(Offset last) noexcept {
    KeepProgramOrder();
    header_->order_.store(last, std::memory_order_release);  // pairs with the lock's take-over
    KeepProgramOrder();
  }
  void TakeOrder(Offset last) noexcept;
  void MoveWithin(Offset next, Offset first, Offset behind) noexcept;
  void MoveFrom(list& other, Offset next, Offset moved) noexcept;

  iterator At(Offset at) const noexcept { return iterator(base_, &header_->chain_, at); }
  Node* NodeOf(Offset at) const noexcept {
    return static_cast<Node*>(pre::NodeAt<list_node>(base_, at));
  }
  T* AddressOf(iterator it) noexcept { return it == end() ? nullptr : &*it; }

  AllocT* alloc_ = nullptr;
  ObjectLink<Header, &kKind> header_;
  char* base_ = nullptr;
};

template <typename T, typename AllocT>
bool operator==(const list<T, AllocT>& a, const list<T, AllocT>& b) noexcept {
  return a.size() == b.size() && std::equal(a.begin(), a.end(), b.begin());
}

}  // namespace hshm::ipc

#include "hermes_shm/data_structures/list/implementation.h"

#endif  // HSHM_DATA_STRUCTURES_LIST_H_
