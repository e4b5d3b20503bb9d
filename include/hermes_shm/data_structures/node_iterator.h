#ifndef HSHM_DATA_STRUCTURES_NODE_ITERATOR_H_
#define HSHM_DATA_STRUCTURES_NODE_ITERATOR_H_

#include <cstddef>
#include <iterator>
#include <type_traits>

#include "hermes_shm/base/types.h"

namespace hshm::ipc {

/**
 * Walks a list or map in both directions. Links is what chains the nodes (pre::list, pre::rb_tree),
 * and Value is Node::value_ of each. Private memory; holds until its node is erased.
 */
template <typename Links, typename Value>
class NodeIterator {
 public:
  using iterator_category = std::bidirectional_iterator_tag;
  using value_type = std::remove_const_t<Value>;
  using difference_type = std::ptrdiff_t;
  using pointer = Value*;
  using reference = Value&;

  NodeIterator() = default;
  NodeIterator(char* base, const Links* links, Offset at) noexcept
      : base_(base), links_(links), at_(at) {}
  /** To const. */
  template <typename Other>
  requires(std::is_same_v<const Other, Value> && !std::is_same_v<Other, Value>)
      NodeIterator(const NodeIterator<Links, Other>& other)
  noexcept : base_(other.base()), links_(other.links()), at_(other.offset()) {}

  Value& operator*() const noexcept { return node()->value_; }
  Value* operator->() const noexcept { return &node()->value_; }
  NodeIterator& operator++() noexcept {
    at_ = Links::NextOf(base_, at_);
    return *this;
  }
  NodeIterator operator++(int) noexcept {
    const NodeIterator before = *this;
    ++*this;
    return before;
  }
  NodeIterator& operator--() noexcept {
    at_ = links_->PriorOf(base_, at_);
    return *this;
  }
  NodeIterator operator--(int) noexcept {
    const NodeIterator before = *this;
    --*this;
    return before;
  }
  friend bool operator==(const NodeIterator& a, const NodeIterator& b) noexcept {
    return a.at_ == b.at_;
  }

  /** Of the node; null for end(). */
  Offset offset() const noexcept { return at_; }
  char* base() const noexcept { return base_; }
  const Links* links() const noexcept { return links_; }

 private:
  using Node = typename Links::element_type;
  Node* node() const noexcept { return static_cast<Node*>(NodeAt()); }
  auto* NodeAt() const noexcept {
    return reinterpret_cast<typename Links::node_type*>(base_ + at_);
  }

  char* base_ = nullptr;
  const Links* links_ = nullptr;
  Offset at_ = kNullOffset;
};

}  // namespace hshm::ipc

#endif  // HSHM_DATA_STRUCTURES_NODE_ITERATOR_H_
