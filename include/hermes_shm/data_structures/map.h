#ifndef HSHM_DATA_STRUCTURES_MAP_H_
#define HSHM_DATA_STRUCTURES_MAP_H_

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <cstring>
#include <functional>
#include <iterator>
#include <type_traits>
#include <utility>

#include "hermes_shm/base/check.h"
#include "hermes_shm/data_structures/map/layout.h"
#include "hermes_shm/data_structures/node_iterator.h"
#include "hermes_shm/data_structures/shareable.h"
#include "hermes_shm/data_structures/structure_guard.h"

namespace hshm::ipc {

/**
 * An ordered map in the region, with the interface of std::map as far as it can fail silently.
 * Every entry has a block of its own and keeps its place in memory, but for insert_or_assign.
 *
 * One rank changes it at a time, and nobody reads meanwhile: under Lock(), or by turns. A map that
 * all ranks change at once is unordered_map.
 *
 * Invariant  The chain of the entries in the order of their keys is the map; the red-black tree
 *            above it is a cache. NodesInHand tells of a change under way.
 * Ordering   Lock(), or what the ranks take turns by.
 * ABA        None: one writer.
 * Crash      Every change of one entry happens by one store: into the chain, or of a value that one
 *            store can replace. The next writer, or who takes Lock() over, finds the note, builds
 *            the tree anew from the chain, O(size), and frees the node if it is out. Whoever reads
 *            first after a death must hold Lock() or call Recover(). What a program writes through
 *            an iterator is its own care.
 *
 * CompareT is a function object without state, the same in every process. A handle: lies in private
 * memory, may be copied, owns nothing. Iterators and pointers hold in this process until their
 * entry is erased.
 */
template <Shareable Key, Shareable T, typename AllocT, typename CompareT = std::less<Key>>
class map {
  static_assert(std::is_empty_v<CompareT>, "Comparators are made where they are needed");
  using Header = ordered_map_layout::MapHeader<Key, T, CompareT>;
  using Node = ordered_map_layout::Node<Key, T>;
  using Tree = ordered_map_layout::Tree<Key, T, CompareT>;

 public:
  using key_type = Key;
  using mapped_type = T;
  using value_type = std::pair<const Key, T>;
  using allocator_type = AllocT;
  using key_compare = CompareT;
  /** Compares entries by their keys. */
  struct value_compare {
    bool operator()(const value_type& a, const value_type& b) const noexcept {
      return CompareT()(a.first, b.first);
    }
  };
  using size_type = uint64_t;
  using difference_type = int64_t;
  using reference = value_type&;
  using const_reference = const value_type&;
  using iterator = NodeIterator<Tree, value_type>;
  using const_iterator = NodeIterator<Tree, const value_type>;
  using reverse_iterator = std::reverse_iterator<iterator>;
  using const_reverse_iterator = std::reverse_iterator<const_iterator>;

  map() = default;

  // ---- life cycle ------------------------------------------------------------------------------

  /** Makes an empty map. @throws Error kNoSpace; kBackendInUse: the handle has one */
  void shm_init(AllocT* alloc, const MemContext& ctx = HSHM_DEFAULT_MEM_CTX);

  /** Joins a map that another rank has made. @throws Error kBackendInUse; see FindObject */
  void shm_attach(AllocT* alloc, OffsetPtr<> offset) {
    RequireEmptyHandle(header_.get(), kKind);
    FindObject(ReachOf(*alloc, offset), offset.load(), sizeof(Header), kKind);
    Use(alloc, ObjectAt<Header>(*alloc, offset));
  }

  /** The handle is empty again; the map stays. */
  void shm_detach() noexcept { *this = map(); }

  /** Frees the entries and the map. From the call on no rank may use it: caller's duty. */
  void shm_destroy(const MemContext& ctx = HSHM_DEFAULT_MEM_CTX) noexcept;

  /** What the others attach to; null for an empty handle. */
  OffsetPtr<> offset() const noexcept {
    return header_.get() == nullptr ? OffsetPtr<>()
                                    : OffsetPtr<>(alloc_->GetRegion().OffsetOf(header_.get()));
  }

  /** Holds the map's lock while the result lives. Not recursive. A map whose last holder died has
   * been mended. */
  [[nodiscard]] StructureGuard Lock(const MemContext& ctx = HSHM_DEFAULT_MEM_CTX) noexcept {
    Mutex& lock = header_->lock_;
    return StructureGuard(*this, lock, alloc_->GetMembership().IdentityOrRejoin(), ctx);
  }

  /** Mends what a writer left that died inside an operation. Nobody else may use the map. */
  void Recover(const MemContext& ctx = HSHM_DEFAULT_MEM_CTX) noexcept {
    header_->in_hand_.Settle(header_->tree_, *alloc_, ctx);
  }

  // ---- looking ---------------------------------------------------------------------------------

  size_type size() const noexcept { return header_->tree_.size(); }
  bool empty() const noexcept { return header_->tree_.empty(); }

  iterator begin() noexcept { return At(header_->tree_.first()); }
  iterator end() noexcept { return At(kNullOffset); }
  const_iterator begin() const noexcept { return cbegin(); }
  const_iterator end() const noexcept { return cend(); }
  const_iterator cbegin() const noexcept { return At(header_->tree_.first()); }
  const_iterator cend() const noexcept { return At(kNullOffset); }
  reverse_iterator rbegin() noexcept { return reverse_iterator(end()); }
  reverse_iterator rend() noexcept { return reverse_iterator(begin()); }
  const_reverse_iterator rbegin() const noexcept { return const_reverse_iterator(end()); }
  const_reverse_iterator rend() const noexcept { return const_reverse_iterator(begin()); }
  const_reverse_iterator crbegin() const noexcept { return rbegin(); }
  const_reverse_iterator crend() const noexcept { return rend(); }

  key_compare key_comp() const noexcept { return key_compare(); }
  value_compare value_comp() const noexcept { return value_compare(); }

  iterator find(const Key& key) noexcept { return At(header_->tree_.Find(base_, key).found_); }
  const_iterator find(const Key& key) const noexcept {
    return At(header_->tree_.Find(base_, key).found_);
  }
  /** The key's value; null when the key is absent. What at() is elsewhere, without a throw. */
  T* find_value(const Key& key) noexcept {
    const iterator it = find(key);
    return it == end() ? nullptr : &it->second;
  }
  const T* find_value(const Key& key) const noexcept {
    const const_iterator it = find(key);
    return it == end() ? nullptr : &it->second;
  }
  bool contains(const Key& key) const noexcept { return find(key) != end(); }
  size_type count(const Key& key) const noexcept { return contains(key) ? 1 : 0; }
  iterator lower_bound(const Key& key) noexcept {
    return At(header_->tree_.LowerBound(base_, key));
  }
  const_iterator lower_bound(const Key& key) const noexcept {
    return At(header_->tree_.LowerBound(base_, key));
  }
  iterator upper_bound(const Key& key) noexcept {
    return At(header_->tree_.UpperBound(base_, key));
  }
  const_iterator upper_bound(const Key& key) const noexcept {
    return At(header_->tree_.UpperBound(base_, key));
  }

  /** From the key's entry to what follows it; twice what follows the key when it is absent. */
  std::pair<iterator, iterator> equal_range(const Key& key) noexcept {
    return {lower_bound(key), upper_bound(key)};
  }
  std::pair<const_iterator, const_iterator> equal_range(const Key& key) const noexcept {
    return {lower_bound(key), upper_bound(key)};
  }

  // ---- changing: {end(), false} when there is no room ------------------------------------------

  /** Where the key's entry is, and whether it is new. */
  std::pair<iterator, bool> insert(const value_type& entry,
                                   const MemContext& ctx = HSHM_DEFAULT_MEM_CTX) noexcept {
    return Insert(
        entry.first, [&]() -> const T& { return entry.second; }, ctx);
  }
  /** As insert, with a value that is made from args only when the key is absent. */
  template <typename... Args>
  std::pair<iterator, bool> try_emplace(const Key& key, Args&&... args) {
    return Insert(
        key, [&] { return T(std::forward<Args>(args)...); }, HSHM_DEFAULT_MEM_CTX);
  }
  template <typename... Args>
  std::pair<iterator, bool> emplace(Args&&... args) {
    return insert(value_type(std::forward<Args>(args)...));
  }
  /** Gives an entry that is there the new value: by one store, or as a new block in its place where
   * the value is too large for one, so that a death leaves the old or the new one. */
  std::pair<iterator, bool> insert_or_assign(const Key& key, const T& value,
                                             const MemContext& ctx = HSHM_DEFAULT_MEM_CTX) noexcept;

  /** @return what follows it */
  iterator erase(const_iterator pos, const MemContext& ctx = HSHM_DEFAULT_MEM_CTX) noexcept;
  iterator erase(const_iterator first, const_iterator last,
                 const MemContext& ctx = HSHM_DEFAULT_MEM_CTX) noexcept {
    while (first != last) first = erase(first, ctx);
    return At(last.offset());
  }
  /** @return how many: 0 or 1 */
  size_type erase(const Key& key, const MemContext& ctx = HSHM_DEFAULT_MEM_CTX) noexcept {
    Mend(ctx);
    const const_iterator it = find(key);
    if (it == cend()) return 0;
    erase(it, ctx);
    return 1;
  }
  /** Erases the entries for which pred(const value_type&) holds, one after the other.
   * @return how many */
  template <typename Pred>
  size_type erase_if(Pred&& pred, const MemContext& ctx = HSHM_DEFAULT_MEM_CTX) {
    Mend(ctx);
    const size_type before = size();
    for (const_iterator it = cbegin(); it != cend();) {
      const bool goes = pred(*it);
      it = goes ? const_iterator(erase(it, ctx)) : std::next(it);
    }
    return before - size();
  }
  /** O(size), without rebalancing; a death leaves the rest. */
  void clear(const MemContext& ctx = HSHM_DEFAULT_MEM_CTX) noexcept;

  /** Whether order, balance and links are right and no change is under way. O(size). */
  [[nodiscard]] bool Check() const noexcept {
    return header_->in_hand_.IsEmpty() && header_->tree_.Check(base_);
  }

 private:
  static constexpr ObjectKind kKind = {"a map", ordered_map_layout::kMapMagic,
                                       ordered_map_layout::kMapLayoutVersion, sizeof(Key),
                                       sizeof(T)};

  void Use(AllocT* alloc, Header* header) noexcept {
    alloc_ = alloc;
    header_ = header;
    base_ = alloc->GetRegion().base_;
  }
  /** Every change begins with it: there is one writer, so a note is a dead one's. */
  void Mend(const MemContext& ctx) noexcept {
    if (HSHM_UNLIKELY(!header_->in_hand_.IsEmpty())) Recover(ctx);
  }
  iterator At(Offset at) const noexcept { return iterator(base_, &header_->tree_, at); }
  Node* NodeOf(Offset at) const noexcept {
    return static_cast<Node*>(pre::NodeAt<rb_node>(base_, at));
  }
  void Free(Offset node, const MemContext& ctx) noexcept {
    alloc_->FreeOffsetNoNullCheck(ctx, OffsetPtr<>(node));
  }

  /** A node, noted as being in hand; null when there is no room. */
  Node* NewNode(const Key& key, const T& value, const MemContext& ctx) noexcept;
  template <typename Make>
  std::pair<iterator, bool> Insert(const Key& key, const Make& make, const MemContext& ctx);

  AllocT* alloc_ = nullptr;
  ObjectLink<Header, &kKind> header_;
  char* base_ = nullptr;
};

template <typename Key, typename T, typename AllocT, typename CompareT>
bool operator==(const map<Key, T, AllocT, CompareT>& a,
                const map<Key, T, AllocT, CompareT>& b) noexcept {
  return a.size() == b.size() && std::equal(a.begin(), a.end(), b.begin());
}

}  // namespace hshm::ipc

#include "hermes_shm/data_structures/map/implementation.h"

#endif  // HSHM_DATA_STRUCTURES_MAP_H_
