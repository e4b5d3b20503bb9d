#ifndef HSHM_DATA_STRUCTURES_LIST_LAYOUT_H_
#define HSHM_DATA_STRUCTURES_LIST_LAYOUT_H_

#include <cstdint>
#include <type_traits>

#include "hermes_shm/data_structures/nodes_in_hand.h"
#include "hermes_shm/data_structures/shared_object.h"
#include "hermes_shm/intrusive/list.h"
#include "hermes_shm/sync/mutex.h"

/**
 * What a list looks like in the region: a header, and a block for each element.
 *
 * The links onwards are the truth and the links back a cache. To bring the elements into another
 * order the roles change for a while: the new order is written into the links back alone, one store
 * of order_ makes it the truth, and the links onwards are made anew from it.
 */
namespace hshm::ipc::list_layout {

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
  Atomic<uint64_t> order_;    // [lock:list] the last element while the links back are the truth
  uint64_t reserved_words_[4];
};
static_assert(std::is_standard_layout_v<ListHeader<int>>);
static_assert(sizeof(ListHeader<int>) == 2 * kCacheLineBytes);  // frozen by kListLayoutVersion

inline constexpr uint64_t kListMagic = 0x3174736c6d687368;  // "hshmlst1" in memory order
inline constexpr uint32_t kListLayoutVersion = 2;           // 1 had no order_

}  // namespace hshm::ipc::list_layout

#endif  // HSHM_DATA_STRUCTURES_LIST_LAYOUT_H_
