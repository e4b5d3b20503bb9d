#ifndef HSHM_MEMORY_ALLOCATOR_MULTI_PROCESS_BLOCK_MARKS_H_
#define HSHM_MEMORY_ALLOCATOR_MULTI_PROCESS_BLOCK_MARKS_H_

#include <array>
#include <bit>

#include "hermes_shm/memory/allocator/multi_process/layout.h"

namespace hshm::ipc::multi_process {

/** Of 512 bytes of data: a bit for each 16 bytes, in two words that have different writers. */
struct MarkWord {
  OwnedWord<uint32_t> given_;  // [owner of the page] flipped by Allocate and by the owner's frees
  Atomic<uint32_t> returned_;  // [any] by CAS; flipped by all other frees
};
static_assert(std::is_standard_layout_v<MarkWord>);
static_assert(sizeof(MarkWord) == 8);  // frozen by kMultiProcessLayoutVersion

/**
 * Who says of a block whether a user has it, in the policy Checked: the two bits of its first unit
 * differ. They lie behind the page table, so no write into a block reaches them.
 *
 *     Allocate      given = !returned      | free by the owner       given = returned
 *                                          | free by anybody else    returned = given
 *
 * Invariant  A block whose bits differ is a user's. A block on any list has equal bits, and so has
 *            each unit that begins no block, and a free page has no other; thus a page is used for
 *            blocks of another size as it is. Equal bits say nothing: a check is no truth.
 * Ordering   given_ is the page owner's alone, so its frees need no atomic operation. A user's
 *            bits stand still: whoever got the block from its allocator sees both. Of two frees by
 *            others one CAS wins, and the other sees that the bits are equal. What a free by
 *            another flipped is published with the block by its push, and acquired by the drain.
 *            An owner's free that races with another's of the same block may miss it; the drain
 *            then meets a block that is not marked as it must be.
 * ABA        A CAS flips its own bit only and looks at it again each time.
 * Crash      Allocate takes the block off its list, then marks it. A free unmarks it, then lists
 *            it. So a death between the two leaves a block on no list with equal bits, the one that
 *            its thread may lose, of which no user knows: no survivor sees a defect that is none.
 */
class BlockMarks {
 public:
  static constexpr uint64_t kUnitBytes = 16;
  static constexpr uint64_t kWordBytes = 32 * kUnitBytes;

  BlockMarks() = default;
  BlockMarks(const Region& region, Offset offset) : words_(region.At<MarkWord>(offset)) {}

  /** Bytes of marks for so many bytes of data. */
  static constexpr uint64_t BytesFor(uint64_t data_bytes) {
    return data_bytes / kWordBytes * sizeof(MarkWord);
  }

  /** The word for the 512 bytes around an offset. */
  MarkWord& WordOf(Offset block) const { return words_[block / kWordBytes]; }

  /** Whether a user has a block that begins there. */
  HSHM_INLINE bool IsLive(Offset block) const {
    const MarkWord& word = WordOf(block);
    // relaxed: a user's bits stand still, and whoever may ask got them with the block
    const uint32_t differ = word.given_.Get() ^ word.returned_.load(std::memory_order_relaxed);
    return block % kUnitBytes == 0 && IsSet(differ, block);
  }
  /** Owner, the block is on no list any more. False when a user has it already. */
  [[nodiscard]] HSHM_INLINE bool Give(Offset block) const { return Flip(block, false); }
  /** Owner, before it lists the block. False when no user has one there. */
  [[nodiscard]] HSHM_INLINE bool Return(Offset block) const {
    return block % kUnitBytes == 0 && Flip(block, true);
  }
  /** Anybody, before the block is pushed. False when no user has one there. */
  [[nodiscard]] bool ReturnFromAfar(Offset block) const {
    MarkWord& word = WordOf(block);
    const uint32_t bit = BitOf(block);
    const uint32_t given = word.given_.Get();
    uint32_t returned = word.returned_.load(std::memory_order_relaxed);  // relaxed: the CAS looks
    do {
      if (block % kUnitBytes != 0 || !IsSet(given ^ returned, block)) return false;
    } while (!word.returned_.compare_exchange_weak(
        returned, returned ^ bit,
        std::memory_order_relaxed,    // relaxed: the push that follows publishes it
        std::memory_order_relaxed));  // relaxed: failure reads only
    return true;
  }
  /** Whoever deletes the blocks of [begin, begin + bytes): no user has any. Repeatable. */
  void Forget(Offset begin, uint64_t bytes) const {
    for (Offset at = begin; at < begin + bytes; at += kWordBytes) {
      MarkWord& word = WordOf(at);
      const uint32_t returned = word.returned_.load(std::memory_order_relaxed);  // relaxed: no user
      if (word.given_.Get() != returned) word.given_.Set(returned);
    }
  }

 private:
  static uint32_t BitOf(Offset block) { return uint32_t{1} << (block / kUnitBytes % 32); }
  static HSHM_INLINE bool IsSet(uint32_t bits, Offset block) {
    return (bits >> (block / kUnitBytes % 32) & 1) != 0;
  }
  HSHM_INLINE bool Flip(Offset block, bool is_live) const {
    MarkWord& word = WordOf(block);
    const uint32_t given = word.given_.Get();
    // relaxed: others flip only bits of blocks that users have; see Ordering
    const uint32_t differ = given ^ word.returned_.load(std::memory_order_relaxed);
    if (HSHM_UNLIKELY(IsSet(differ, block) != is_live)) return false;
    word.given_.Set(given ^ BitOf(block));
    return true;
  }

  MarkWord* words_ = nullptr;
};

/** In the policy Fast: nothing, and no room for it. */
struct NoMarks {
  NoMarks() = default;
  NoMarks(const Region&, Offset) {}
  static constexpr uint64_t BytesFor(uint64_t) { return 0; }
};

/**
 * Where links may lead: to the blocks of one size in their own page. A multiple of d is told by a
 * multiplication with 2^32 / d, rounded up (Lemire, Kaser, Kurz 2019, "Faster remainder by direct
 * computation"), exact as both are counted in 16 bytes: places have 15 bits then, and d has 13.
 */
struct LinkRule {
  uint32_t inverse_;
  uint32_t last_;  // where the last block of a page begins, in 16 bytes

  HSHM_INLINE bool Allows(uint64_t place) const {
    // What is no multiple of 16 becomes larger than any place.
    const uint64_t units = std::rotr(place, 4);
    return units <= last_ && static_cast<uint32_t>(units) * inverse_ <= inverse_ - 1;
  }
};

template <typename Config>
inline constexpr auto kLinkRules = [] {
  std::array<LinkRule, Config::kClassCount> rules{};
  for (uint32_t c = 0; c < Config::kClassCount; ++c) {
    const uint64_t units = ClassBytes(c) / 16;
    const uint64_t pages = ClassBytes(c) > Config::kMaxNarrowBytes ? Config::kWidePages : 1;
    const uint64_t blocks = pages * Config::kPageBytes / 16 / units;
    // Of 1 it is 2^32, or 0 here, which allows all places.
    rules[c].inverse_ = static_cast<uint32_t>((uint64_t{1} << 32) / units +
                                              ((uint64_t{1} << 32) % units != 0 ? 1 : 0));
    rules[c].last_ = static_cast<uint32_t>((blocks - 1) * units);
  }
  return rules;
}();

/** What a page held that is free now, so that a second free of its blocks has its right name.
 * {back:32 pages to the head, carved:16, class:8, kind:8}; 0: nothing is known. */
struct FormerBlocks {
  static constexpr uint64_t Make(uint32_t shape, uint32_t carved, uint32_t back) {
    return (uint64_t{back} << 32) | (uint64_t{carved} << 16) | (shape & 0xffff);
  }
  static constexpr uint32_t Shape(uint64_t word) { return static_cast<uint32_t>(word & 0xffff); }
  static constexpr uint32_t Carved(uint64_t word) {
    return static_cast<uint32_t>(word >> 16) & 0xffff;
  }
  static constexpr uint32_t Back(uint64_t word) { return static_cast<uint32_t>(word >> 32); }
};

}  // namespace hshm::ipc::multi_process

#endif  // HSHM_MEMORY_ALLOCATOR_MULTI_PROCESS_BLOCK_MARKS_H_
