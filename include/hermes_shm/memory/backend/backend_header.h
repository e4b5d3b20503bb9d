#ifndef HSHM_MEMORY_BACKEND_BACKEND_HEADER_H_
#define HSHM_MEMORY_BACKEND_BACKEND_HEADER_H_

#include <cstdint>
#include <type_traits>

#include "hermes_shm/base/bits.h"
#include "hermes_shm/base/types.h"
#include "hermes_shm/sync/atomic.h"

namespace hshm::ipc {

/** The kinds of memory that a region can lie in. The numbers stand in segment headers. */
enum class MemoryBackendType : uint32_t {
  kPosixShmMmap,   // POSIX shared memory, mapped
  kMallocBackend,  // malloc
  kArrayBackend,   // an array that the caller allocated
  kPosixMmap,      // a mapped file, or private pages
  kGpuMalloc,      // memory of a GPU
  kGpuShmMmap,     // POSIX shared memory registered with a GPU
};

inline constexpr uint64_t kBackendMagic = 0x31524d4853484d48;  // "HMHSHMR1" in memory order
inline constexpr uint32_t kBackendLayoutVersion = 2;
inline constexpr uint64_t kBackendHeaderBytes = 4096;
inline constexpr uint64_t kMinRegionBytes = 256 * 1024;
inline constexpr uint32_t kMaxSlots = 4096;

/**
 * One process that takes part in the region. Slot i is in use while its byte lock is held; there is
 * no other state. All that stands here but generation and serial is for messages and policy.
 */
struct SlotEntry {
  Atomic<uint32_t> generation_;   // [byte] counts the processes that have had the slot
  Atomic<uint32_t> next_serial_;  // [byte] heap serials given out, never reset; 0 and 1 are unused
  uint32_t os_pid_;               // [byte] as the holder sees itself
  uint32_t on_death_;             // [byte] 0 keep what it handed out, 1 delete it (kReclaim)
  uint64_t start_time_;           // [byte] of the process, clock ticks since boot
  uint64_t pid_namespace_;        // [byte] inode of /proc/self/ns/pid
  uint64_t reserved_[4];
};
static_assert(std::is_standard_layout_v<SlotEntry>);
static_assert(sizeof(SlotEntry) == 64);  // frozen by kBackendLayoutVersion

/** What may stand in BackendHeader::flags_. */
enum BackendFlag : uint32_t {
  kGrowingFile = 1,  // the file is made longer as memory is committed, up to region_bytes_
  kHugePages = 2,    // members ask for transparent huge pages, and commit by touching
};

/**
 * The first 4 KiB of every region, private ones included:
 *
 *     | BackendHeader 4 KiB | SlotEntry[slot_count_] | allocator_offset_: allocator's header ...
 */
struct BackendHeader {
  uint64_t magic_;               // [init] kBackendMagic
  uint32_t endian_;              // [init] 0x01020304 as the creator stores it
  uint32_t layout_version_;      // [init] kBackendLayoutVersion
  uint32_t word_bytes_;          // [init] sizeof(void*)
  uint32_t system_page_bytes_;   // [init] the creator's page size
  MemoryBackendType type_;       // [init]
  uint32_t backend_id_;          // [init]
  uint64_t region_bytes_;        // [init] capacity, this header included
  uint64_t slots_offset_;        // [init] kBackendHeaderBytes
  uint32_t slot_count_;          // [init]
  uint32_t creator_pid_;         // [init] for messages
  uint64_t allocator_offset_;    // [init] where an allocator's header begins
  uint64_t creator_start_time_;  // [init] for messages
  char boot_id_[40];             // [init] /proc/sys/kernel/random/boot_id, zero-padded
  uint32_t flags_;               // [init] BackendFlag
  uint32_t crc32c_;              // [init] over all bytes above this word
  Atomic<uint32_t> ready_;       // [any]  1 once the segment is published
  uint32_t padding_;
  Atomic<uint64_t>
      grown_bytes_;  // [any]  of kGrowingFile: the file is at least so long; only rises
};
static_assert(std::is_standard_layout_v<BackendHeader>);
static_assert(sizeof(BackendHeader) <= kBackendHeaderBytes);

/** Slots for a region of this size: kMaxSlots, but never more than a sixteenth of the region. */
constexpr uint32_t SlotCountFor(uint64_t region_bytes) {
  const uint64_t fit = region_bytes / 16 / sizeof(SlotEntry);
  return fit < kMaxSlots ? static_cast<uint32_t>(fit) : kMaxSlots;
}

/** Where an allocator's header begins: behind the slots. */
constexpr Offset AllocatorOffsetFor(uint64_t region_bytes) {
  return bits::AlignUp(kBackendHeaderBytes + SlotCountFor(region_bytes) * sizeof(SlotEntry),
                       kCacheLineBytes);
}

}  // namespace hshm::ipc

#endif  // HSHM_MEMORY_BACKEND_BACKEND_HEADER_H_
