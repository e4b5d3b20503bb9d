#ifndef HSHM_DATA_STRUCTURES_LIST_H_
#define HSHM_DATA_STRUCTURES_LIST_H_

#include <cstdint>
#include <cstring>
#include <iterator>
#include <type_traits>
#include <utility>

#include "hermes_shm/base/check.h"
#include "hermes_shm/data_structures/node_iterator.h"
#include "hermes_shm/data_structures/nodes_in_hand.h"
#include "hermes_shm/data_structures/shareable.h"
#include "hermes_shm/data_structures/structure_guard.h"
#include "hermes_shm/intrusive/list.h"

namespace hshm::ipc {

namespace list_layout {

/** One element. */
template <typename T>
struct Node : list_node {
  T value_;
  explicit Node(const T& value) : value_(value) {}
};

/** "lock" is the list's or whatever else makes one rank at a time the writer. */
template <typename T>
struct ListHeader {
  ObjectTag tag_;
  Mutex lock_;  // [any]
  uint32_t reserved_[5];
  NodesInHand in_hand_;       // [lock:list]
  pre::list<Node<T>> chain_;  // [lock:list]
  uint64_t reserved_words_[5];
};
static_assert(std::is_standard_layout_v<ListHeader<int>>);
static_assert(sizeof(ListHeader<int>) == 2 * kCacheLineBytes);  // frozen by kListLayoutVersion

inline constexpr uint64_t kListMagic = 0x3174736c6d687368;  // "hshmlst1" in memory order
inline constexpr uint32_t kListLayoutVersion = 1;

}  // namespace list_layout

/**
 * A doubly linked list in the region, with the interface of std::list as far as it can fail
 * silently. Every element has a block of its own and keeps its place in memory.
 *
 * One rank changes it at a time, and nobody reads meanwhile: under Lock(), or by turns.
 *
 * Invariant  The chain from the front is the list; see pre::list. NodesInHand tells of a change
 *            under way.
 * Ordering   Lock(), or what the ranks take turns by.
 * ABA        None: one writer.
 * Crash      Every change of one element happens by one store into the chain. The next writer, or
 *            who takes Lock() over, finds the note, rebuilds the links back, and frees the node if
 *            it is out. Whoever reads first after a death must hold Lock() or call Recover().
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

  /** Makes an empty list. @throws Error kNoSpace */
  void shm_init(AllocT* alloc, const MemContext& ctx = HSHM_DEFAULT_MEM_CTX) {
    const OffsetPtr<> block = AllocateObject(*alloc, ctx, sizeof(Header), kKind.name_);
    auto* header = ObjectAt<Header>(*alloc, block);
    std::memset(static_cast<void*>(header), 0, sizeof(Header));
    Use(alloc, header);
    PublishObject(header->tag_, kKind);
  }

  /** Joins a list that another rank has made. @throws Error see FindObject */
  void shm_attach(AllocT* alloc, OffsetPtr<> offset) {
    FindObject(ReachOf(*alloc, offset), offset.load(), sizeof(Header), kKind);
    Use(alloc, ObjectAt<Header>(*alloc, offset));
  }

  /** Frees the elements and the list. From the call on no rank may use it: caller's duty. */
  void shm_destroy(const MemContext& ctx = HSHM_DEFAULT_MEM_CTX) noexcept {
    if (header_ == nullptr) return;
    HSHM_CHECK(RetireObject(header_->tag_, kKind));
    clear(ctx);
    alloc_->FreeOffsetNoNullCheck(ctx, offset());
    *this = list();
  }

  /** What the others attach to; null for an empty handle. */
  OffsetPtr<> offset() const noexcept {
    return header_ == nullptr ? OffsetPtr<>() : OffsetPtr<>(alloc_->GetRegion().OffsetOf(header_));
  }

  /** Holds the list's lock while the result lives. Not recursive. A list whose last holder died has
   * been mended. */
  [[nodiscard]] StructureGuard Lock(const MemContext& ctx = HSHM_DEFAULT_MEM_CTX) noexcept {
    return StructureGuard(*this, header_->lock_, alloc_->GetMembership().IdentityOrRejoin(), ctx);
  }

  /** Mends what a writer left that died inside an operation. Nobody else may use the list. */
  void Recover(const MemContext& ctx = HSHM_DEFAULT_MEM_CTX) noexcept {
    header_->in_hand_.Settle(header_->chain_, *alloc_, ctx);
  }

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

  // ---- changing --------------------------------------------------------------------------------

  /** False when there is no room, as in push_front. */
  [[nodiscard]] bool push_back(const T& value,
                               const MemContext& ctx = HSHM_DEFAULT_MEM_CTX) noexcept {
    return insert(cend(), value, ctx) != end();
  }
  [[nodiscard]] bool push_front(const T& value,
                                const MemContext& ctx = HSHM_DEFAULT_MEM_CTX) noexcept {
    return insert(cbegin(), value, ctx) != end();
  }
  /** The new element; null when there is no room. */
  template <typename... Args>
  [[nodiscard]] T* emplace_back(Args&&... args) {
    return AddressOf(insert(cend(), T(std::forward<Args>(args)...)));
  }
  template <typename... Args>
  [[nodiscard]] T* emplace_front(Args&&... args) {
    return AddressOf(insert(cbegin(), T(std::forward<Args>(args)...)));
  }

  /** Puts the value in front of pos. end() when there is no room, else where it is. */
  iterator insert(const_iterator pos, const T& value,
                  const MemContext& ctx = HSHM_DEFAULT_MEM_CTX) noexcept {
    Mend(ctx);
    const OffsetPtr<> made = AllocateElements(*alloc_, ctx, sizeof(Node), alignof(Node));
    if (HSHM_UNLIKELY(made.IsNull())) return end();
    header_->in_hand_.Note(0, made.load());
    auto* const node = ::new (static_cast<void*>(base_ + made.load())) Node(value);
    header_->chain_.insert(base_, pos.offset(), node);
    header_->in_hand_.Note(0, kNullOffset);
    return At(made.load());
  }

  /** @return what follows it */
  iterator erase(const_iterator pos, const MemContext& ctx = HSHM_DEFAULT_MEM_CTX) noexcept {
    const Offset erased = pos.offset();
    HSHM_CHECK(erased != kNullOffset);
    Mend(ctx);
    const iterator next = At(Chain::NextOf(base_, erased));
    header_->in_hand_.Note(0, erased);
    header_->chain_.erase(base_, NodeOf(erased));
    header_->in_hand_.Note(0, kNullOffset);
    alloc_->FreeOffsetNoNullCheck(ctx, OffsetPtr<>(erased));
    return next;
  }
  iterator erase(const_iterator first, const_iterator last,
                 const MemContext& ctx = HSHM_DEFAULT_MEM_CTX) noexcept {
    while (first != last) first = erase(first, ctx);
    return At(last.offset());
  }
  void pop_front(const MemContext& ctx = HSHM_DEFAULT_MEM_CTX) noexcept { erase(cbegin(), ctx); }
  void pop_back(const MemContext& ctx = HSHM_DEFAULT_MEM_CTX) noexcept {
    Mend(ctx);  // before the look at the end, which is not the truth while a note is there
    erase(--cend(), ctx);
  }

  /** Erases one after the other; a death leaves the rest. */
  void clear(const MemContext& ctx = HSHM_DEFAULT_MEM_CTX) noexcept {
    erase(cbegin(), cend(), ctx);
  }
  /** Erases the elements for which pred(const T&) holds. @return how many */
  template <typename Pred>
  size_type remove_if(Pred&& pred, const MemContext& ctx = HSHM_DEFAULT_MEM_CTX) {
    const size_type before = size();
    for (const_iterator it = cbegin(); it != cend();) {
      const bool goes = pred(*it);
      it = goes ? const_iterator(erase(it, ctx)) : std::next(it);
    }
    return before - size();
  }

  /** Whether the links agree in both directions and no change is under way. O(size). */
  [[nodiscard]] bool Check() const noexcept {
    return header_->in_hand_.IsEmpty() && header_->chain_.Check(base_);
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
  iterator At(Offset at) const noexcept { return iterator(base_, &header_->chain_, at); }
  Node* NodeOf(Offset at) const noexcept {
    return static_cast<Node*>(pre::NodeAt<list_node>(base_, at));
  }
  T* AddressOf(iterator it) noexcept { return it == end() ? nullptr : &*it; }

  AllocT* alloc_ = nullptr;
  Header* header_ = nullptr;
  char* base_ = nullptr;
};

}  // namespace hshm::ipc

#endif  // HSHM_DATA_STRUCTURES_LIST_H_
