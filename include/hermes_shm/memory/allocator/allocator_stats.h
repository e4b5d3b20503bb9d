#ifndef HSHM_MEMORY_ALLOCATOR_ALLOCATOR_STATS_H_
#define HSHM_MEMORY_ALLOCATOR_ALLOCATOR_STATS_H_

#include <cstdint>
#include <string>
#include <vector>

#include "hermes_shm/base/macros.h"

namespace hshm::ipc {

/** Blocks of one size. */
struct SizeClassStats {
  uint64_t block_bytes_ = 0;
  uint64_t live_blocks_ = 0;
  uint64_t free_blocks_ = 0;  // that the class's pages have room for
  uint64_t pages_ = 0;
  uint64_t pending_frees_ = 0;  // by threads that do not own the page, not taken by its owner yet
};

/** 0: all that is free lies together. Nearly 1: it lies in many small pieces. */
constexpr double FragmentationOf(uint64_t free_bytes, uint64_t largest_free_bytes) noexcept {
  if (free_bytes == 0 || largest_free_bytes >= free_bytes) return 0;
  return 1 - static_cast<double>(largest_free_bytes) / static_cast<double>(free_bytes);
}

/** A process that is attached, or that has left something behind. */
struct RankStats {
  uint32_t slot_ = 0;
  uint32_t os_pid_ = 0;      // as the process sees itself; of the last one that had the slot
  bool is_alive_ = false;    // asked the kernel
  uint64_t unit_bytes_ = 0;  // memory that the process has of the region, used or not
  uint64_t live_bytes_ = 0;  // blocks in its pages, whoever allocated or holds them
  uint32_t heaps_ = 0;       // of its threads, idle ones included
  uint64_t pages_ = 0;       // of its units, in use
  uint64_t free_bytes_ = 0;  // in its units: free pages, and room in its pages of size classes
  uint64_t largest_free_bytes_ = 0;  // the longest stretch of free pages in one of its units
  uint64_t pending_frees_ = 0;       // of blocks in its pages, by others, not taken by it yet

  double Fragmentation() const noexcept {
    return FragmentationOf(free_bytes_, largest_free_bytes_);
  }
};

/**
 * What processes left that died, or that detached and left blocks behind, and what became of it;
 * since the allocator was made. Counted when it is found: by who joins, finds no room, or calls
 * Recover() or Reclaim(). When who counts dies too, what it was at is counted again, or not at all.
 */
struct DeathStats {
  uint64_t processes_ = 0;      // that had left something
  uint64_t heaps_ = 0;          // of their threads: in each, one block at most was lost, see below
  uint64_t adopted_pages_ = 0;  // now other processes', with the blocks in them
  uint64_t adopted_bytes_ = 0;  // in blocks of these pages, and in large blocks, which live on
  /** In blocks that went with their process: Reclaim(), and deaths after OnDeath::kReclaim; not
   * what a process itself deletes, detaching. */
  uint64_t deleted_bytes_ = 0;

  /** Blocks in flight: about to be handed out, or about to be freed. Nobody can tell them from
   * blocks in use, so they are among the adopted. Of a thread that died while it handed a run of
   * remote frees to their owner, this one is that run, of 16 blocks at most. */
  uint64_t LostBlocksAtMost() const noexcept { return heaps_; }
};

/**
 * What an allocator holds, for all processes of the region together. Counted when it is asked for,
 * from words that the allocator needs anyway; an allocation or free pays nothing for it. Exact
 * while nobody works, a picture of no one moment otherwise. docs/statistics.md says what each
 * number means on each allocator.
 */
struct AllocatorStats {
  std::string allocator_;            // "a MultiProcessAllocator"
  uint64_t region_bytes_ = 0;        // headers included
  uint64_t capacity_bytes_ = 0;      // what blocks could have at most; 0: the system is the limit
  uint64_t committed_bytes_ = 0;     // of the capacity: taken from the system
  uint64_t live_bytes_ = 0;          // in blocks that somebody holds, as the allocator rounds them
  uint64_t live_blocks_ = 0;         // 0 where they are not counted (malloc)
  uint64_t peak_bytes_ = 0;          // the most that was in use, in what peak_counts_ names
  const char* peak_counts_ = "";     // "blocks", "granted units", ...; "" where nobody knows
  uint64_t free_bytes_ = 0;          // could be had by somebody, in blocks of some size
  uint64_t largest_free_bytes_ = 0;  // the longest stretch of free memory
  uint64_t remote_frees_ = 0;        // frees by another than the page's owner, since it was made
  DeathStats deaths_;                // all 0 where nothing has an owner
  bool is_complete_ = true;          // false when a lock could not be had: some numbers are 0
  std::vector<SizeClassStats> classes_;  // those with pages
  std::vector<RankStats> ranks_;

  double Fragmentation() const noexcept {
    return FragmentationOf(free_bytes_, largest_free_bytes_);
  }

  /** Leaves the ranks and classes out of which there is nothing to say. */
  HSHM_API void LeaveOutEmpty();

  /** One object; its members are named as those above, without the last underscore. */
  HSHM_API std::string ToJson() const;
  /** A table for people. */
  HSHM_API std::string ToText() const;
};

}  // namespace hshm::ipc

#endif  // HSHM_MEMORY_ALLOCATOR_ALLOCATOR_STATS_H_
