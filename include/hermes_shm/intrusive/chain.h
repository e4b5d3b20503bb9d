#ifndef HSHM_INTRUSIVE_CHAIN_H_
#define HSHM_INTRUSIVE_CHAIN_H_

#include <cstddef>
#include <iterator>

#include "hermes_shm/base/types.h"

/** What slist and list have in common: elements of type T that derive from Node{next_, ...}. */
namespace hshm::ipc::pre {

template <typename Node>
HSHM_CROSS_FUN Node* NodeAt(char* base, Offset at) noexcept {
  return reinterpret_cast<Node*>(base + at);
}
template <typename Node>
HSHM_CROSS_FUN Offset OffsetOfNode(const char* base, const Node* node) noexcept {
  return static_cast<Offset>(reinterpret_cast<const char*>(node) - base);
}

/** Walks from the front. Erasing the element it stands on invalidates it. */
template <typename T, typename Node>
class ChainIterator {
 public:
  using iterator_category = std::forward_iterator_tag;
  using value_type = T;
  using difference_type = std::ptrdiff_t;
  using pointer = T*;
  using reference = T&;

  ChainIterator() = default;
  HSHM_CROSS_FUN ChainIterator(char* base, Offset at) noexcept : base_(base), at_(at) {}
  HSHM_CROSS_FUN T& operator*() const noexcept { return *operator->(); }
  HSHM_CROSS_FUN T* operator->() const noexcept {
    return static_cast<T*>(NodeAt<Node>(base_, at_));
  }
  HSHM_CROSS_FUN ChainIterator& operator++() noexcept {
    at_ = NodeAt<Node>(base_, at_)->next_;
    return *this;
  }
  HSHM_CROSS_FUN ChainIterator operator++(int) noexcept {
    ChainIterator before = *this;
    ++*this;
    return before;
  }
  HSHM_CROSS_FUN friend bool operator==(const ChainIterator& a, const ChainIterator& b) noexcept {
    return a.at_ == b.at_;
  }

 private:
  char* base_ = nullptr;
  Offset at_ = kNullOffset;  // null behind the last element
};

/** What a range-for walks: `for (T& element : list.elements(base))`. */
template <typename T, typename Node>
struct ChainRange {
  ChainIterator<T, Node> begin_;
  HSHM_CROSS_FUN ChainIterator<T, Node> begin() const noexcept { return begin_; }
  HSHM_CROSS_FUN ChainIterator<T, Node> end() const noexcept { return {}; }
};

}  // namespace hshm::ipc::pre

#endif  // HSHM_INTRUSIVE_CHAIN_H_
