#ifndef HSHM_UNIT_TESTS_FUZZ_TARGETS_SHADOW_HEAP_H_
#define HSHM_UNIT_TESTS_FUZZ_TARGETS_SHADOW_HEAP_H_

#include <cstdint>
#include <functional>
#include <map>

#include "fuzz/targets/made_up_system.h"

namespace hshm::fuzz {

/** What blocks live in a region by the word of those who have them: where, how long, and the bytes
 * that each was given. */
class ShadowHeap {
 public:
  struct Block {
    uint64_t size_bytes_;
    uint64_t seed_;
    uint32_t handle_;
  };
  using Blocks = std::map<uint64_t, Block>;  // by offset

  ShadowHeap(char* region, uint64_t region_bytes) : region_(region), region_bytes_(region_bytes) {}

  const Blocks& blocks() const { return blocks_; }

  /** A block was handed out: it lies in the region, in nobody else's, and gets bytes of its own. */
  void Add(uint64_t offset, uint64_t size_bytes, uint32_t handle) {
    if (offset >= region_bytes_ || size_bytes > region_bytes_ - offset) {
      Fail("a block outside of the region");
    }
    const auto next = blocks_.lower_bound(offset);
    if (next != blocks_.end() && next->first < offset + size_bytes) Fail("blocks overlap");
    if (next != blocks_.end() && next->first == offset) Fail("a block was handed out twice");
    if (next != blocks_.begin()) {
      const auto before = std::prev(next);
      if (before->first + before->second.size_bytes_ > offset) Fail("blocks overlap");
    }
    const Block block{size_bytes, ++last_seed_, handle};
    blocks_.emplace(offset, block);
    ForBytes(size_bytes, [&](uint64_t i) { region_[offset + i] = ByteOf(block.seed_, i); });
  }

  /** The block is about to go, or moves: its first bytes are still those that it was given. */
  void Remove(uint64_t offset) {
    const auto found = blocks_.find(offset);
    CheckBytes(offset, found->second, found->second.size_bytes_);
    blocks_.erase(found);
  }

  /** A block has become another one, with as many of its bytes as fit. */
  void Move(uint64_t from, uint64_t to, uint64_t size_bytes, uint32_t handle) {
    const Block block = blocks_.at(from);
    blocks_.erase(from);
    CheckBytes(to, block, block.size_bytes_ < size_bytes ? block.size_bytes_ : size_bytes);
    Add(to, size_bytes, handle);
  }

  /** Blocks that are nobody's any more, without a look at them. */
  void Forget(const std::function<bool(const Block&)>& is_gone) {
    std::erase_if(blocks_, [&](const auto& entry) { return is_gone(entry.second); });
  }

  void CheckAll() const {
    for (const auto& [offset, block] : blocks_) CheckBytes(offset, block, block.size_bytes_);
  }

 private:
  static constexpr uint64_t kEdge = 16;

  static char ByteOf(uint64_t seed, uint64_t i) {
    return static_cast<char>((seed * 0x9e3779b97f4a7c15 + i) >> 56 ^ i);
  }
  /** The first and the last ones, and some between. */
  template <typename Visit>
  static void ForBytes(uint64_t size_bytes, Visit visit) {
    for (uint64_t i = 0; i < size_bytes; i += i < kEdge || i + kEdge >= size_bytes ? 1 : kEdge) {
      visit(i);
    }
  }
  /** Of a part of a block nothing was written at its end. */
  void CheckBytes(uint64_t offset, const Block& block, uint64_t size_bytes) const {
    const bool is_whole = size_bytes == block.size_bytes_;
    ForBytes(size_bytes, [&](uint64_t i) {
      const bool is_written = is_whole || i < kEdge || i % kEdge == 0;
      if (is_written && region_[offset + i] != ByteOf(block.seed_, i)) {
        Fail("a live block was written into");
      }
    });
  }

  char* region_;
  uint64_t region_bytes_;
  Blocks blocks_;
  uint64_t last_seed_ = 0;
};

}  // namespace hshm::fuzz

#endif  // HSHM_UNIT_TESTS_FUZZ_TARGETS_SHADOW_HEAP_H_
