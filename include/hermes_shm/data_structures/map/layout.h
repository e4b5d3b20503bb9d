#ifndef HSHM_DATA_STRUCTURES_MAP_LAYOUT_H_
#define HSHM_DATA_STRUCTURES_MAP_LAYOUT_H_

#include <cstdint>
#include <type_traits>
#include <utility>

#include "hermes_shm/data_structures/nodes_in_hand.h"
#include "hermes_shm/data_structures/shared_object.h"
#include "hermes_shm/intrusive/rb_tree.h"
#include "hermes_shm/sync/mutex.h"

/** What a map looks like in the region: a header, and a block for each entry. */
namespace hshm::ipc::ordered_map_layout {

/** One entry. */
template <typename Key, typename T>
struct Node : rb_node {
  std::pair<const Key, T> value_;
  Node(const Key& key, const T& value) : value_(key, value) {}
};

/** Compares nodes with nodes and with keys. */
template <typename Key, typename T, typename CompareT>
struct Less {
  static const Key& KeyOf(const Key& key) { return key; }
  static const Key& KeyOf(const Node<Key, T>& node) { return node.value_.first; }
  template <typename A, typename B>
  bool operator()(const A& a, const B& b) const {
    return CompareT()(KeyOf(a), KeyOf(b));
  }
};

template <typename Key, typename T, typename CompareT>
using Tree = pre::rb_tree<Node<Key, T>, Less<Key, T, CompareT>>;

/** "lock" is the map's or whatever else makes one rank at a time the writer. */
template <typename Key, typename T, typename CompareT>
struct MapHeader {
  ObjectTag tag_;
  Mutex lock_;  // [any]
  uint32_t reserved_[5];
  NodesInHand in_hand_;          // [lock:map]
  Tree<Key, T, CompareT> tree_;  // [lock:map]
  uint64_t reserved_words_[5];
};
static_assert(std::is_standard_layout_v<MapHeader<int, int, std::less<int>>>);
static_assert(sizeof(MapHeader<int, int, std::less<int>>) ==
              2 * kCacheLineBytes);  // frozen by kMapLayoutVersion

inline constexpr uint64_t kMapMagic = 0x3172746f6d687368;  // "hshmotr1" in memory order
inline constexpr uint32_t kMapLayoutVersion = 1;

}  // namespace hshm::ipc::ordered_map_layout

#endif  // HSHM_DATA_STRUCTURES_MAP_LAYOUT_H_
