#ifndef HSHM_DATA_STRUCTURES_UNORDERED_MAP_LAYOUT_H_
#define HSHM_DATA_STRUCTURES_UNORDERED_MAP_LAYOUT_H_

#include <algorithm>
#include <bit>
#include <cstdint>
#include <type_traits>

#include "hermes_shm/base/bits.h"
#include "hermes_shm/data_structures/shared_object.h"
#include "hermes_shm/sync/mutex.h"

/**
 * What an unordered_map looks like in the region.
 *
 *     | MapHeader 64 B | Stripe 64 B | Stripe | ...          one block, as many stripes as asked
 * for
 *                          |
 *                          +-> table: 2^k slots of 8 bytes    grows on its own
 *                                 |
 *                                 +-> node {key, value}       one block of the allocator each
 *
 *     hash, 64 bits:  | stripe ... |            ...            | tag, 26 |
 *     slot, 64 bits:  | tag, 26 | node's offset in units of 16 bytes, 38 |      0 = empty
 *
 * A key's home in its stripe's table is the low end of its tag, and it lies there or in the next
 * slots, with no empty slot between. As the slot holds the tag, tables grow without a look at the
 * nodes, and a search for a key that is absent rarely touches one.
 */
namespace hshm::ipc::map_layout {

inline constexpr uint32_t kTagBits = 26;
inline constexpr uint32_t kUnitBits = 64 - kTagBits;
inline constexpr uint64_t kTagMask = (uint64_t{1} << kTagBits) - 1;
inline constexpr uint64_t kUnitMask = (uint64_t{1} << kUnitBits) - 1;
inline constexpr uint32_t kUnitShift = 4;  // nodes are aligned to 16 bytes at least
inline constexpr uint64_t kMaxRegionBytes = uint64_t{1} << (kUnitBits + kUnitShift);  // 4 TiB

inline constexpr uint64_t kEmpty = 0;
inline constexpr uint64_t kErased = uint64_t{1} << kUnitBits;  // no node; searches go on behind it

inline constexpr uint32_t kMinTableLog2 = 3;  // one cache line
inline constexpr uint32_t kMaxTableLog2 = kTagBits;
inline constexpr uint32_t kMaxStripes = 1 << 16;

constexpr uint64_t TagOf(uint64_t hash) { return hash & kTagMask; }
constexpr uint64_t SlotFor(uint64_t tag, Offset node) {
  return (tag << kUnitBits) | (node >> kUnitShift);
}
constexpr bool HasNode(uint64_t slot) { return (slot & kUnitMask) != 0; }
constexpr uint64_t TagIn(uint64_t slot) { return slot >> kUnitBits; }
constexpr Offset NodeIn(uint64_t slot) { return (slot & kUnitMask) << kUnitShift; }

/** Bucket words of one table; read and written under the stripe's lock, in whole words. */
using Slot = Atomic<uint64_t>;

/** {offset, 64-byte aligned; log2 of the slots: 6}; 0 = no table */
using TableWord = uint64_t;
constexpr TableWord TableFor(Offset offset, uint32_t log2) { return offset | log2; }
constexpr Offset TableOffset(TableWord table) { return table & ~(kCacheLineBytes - 1); }
constexpr uint32_t TableLog2(TableWord table) {
  return static_cast<uint32_t>(table & (kCacheLineBytes - 1));
}
constexpr uint64_t TableSlots(TableWord table) {
  return table == 0 ? 0 : uint64_t{1} << TableLog2(table);
}

/** A part of the keys, with its own lock and table. Zeroed memory is an empty stripe. */
struct Stripe {
  Mutex lock_;                  // [any]
  Atomic<uint32_t> active_;     // [lock:stripe] which of tables_ holds the entries
  Atomic<uint64_t> tables_[2];  // [lock:stripe] the other is 0, or under way in or out
  Atomic<uint64_t> count_;      // [lock:stripe] entries; a cache, recounted after a death
  Atomic<uint64_t> used_;       // [lock:stripe] slots that are not empty; a cache likewise
  uint64_t reserved_[3];
};
static_assert(std::is_standard_layout_v<Stripe>);
static_assert(sizeof(Stripe) == kCacheLineBytes);  // no two stripes share a line

struct MapHeader {
  ObjectTag tag_;
  uint32_t stripe_count_;  // [init] power of two
  uint32_t first_log2_;    // [init] size of a stripe's first table
  uint64_t reserved_[4];

  Stripe* stripes() { return reinterpret_cast<Stripe*>(this + 1); }
};
static_assert(std::is_standard_layout_v<MapHeader>);
static_assert(sizeof(MapHeader) == kCacheLineBytes);  // frozen by kMapLayoutVersion

inline constexpr uint64_t kMapMagic = 0x3170616d6d687368;  // "hshmmap1" in memory order
inline constexpr uint32_t kMapLayoutVersion = 1;

/** One entry. A value of at most 8 bytes is aligned so that one store replaces it. */
template <typename Key, typename T>
struct Node {
  static constexpr bool kOneStore = sizeof(T) <= 8 && std::has_single_bit(sizeof(T));
  static constexpr size_t kValueAlignment =
      kOneStore ? std::max(sizeof(T), alignof(T)) : alignof(T);

  Key key_;                           // [init]
  alignas(kValueAlignment) T value_;  // [lock:stripe]
};

/** At most three quarters of a table are in use: beyond, searches grow long. */
constexpr uint64_t MaxUsed(uint64_t slots) { return slots / 4 * 3; }

/** Beyond three quarters when memory has run out, but some slots stay empty: they end searches. */
constexpr uint64_t MaxUsedWithoutRoom(uint64_t slots) { return slots - slots / 8; }

/** Table for a stripe's share of so many entries; a sixteenth more, as shares are not equal. */
constexpr uint32_t TableLog2For(uint64_t entries, uint64_t stripe_count) {
  const uint64_t share = bits::DivideUp(entries, stripe_count);
  const uint32_t log2 = bits::CeilLog2(bits::DivideUp(share + share / 16, 3) * 4);
  return std::clamp(log2, kMinTableLog2, kMaxTableLog2);
}

/** Tables of at most 64 KiB, so that a growth stays in a core's own cache. */
constexpr uint32_t StripeCountFor(uint64_t expected_entries) {
  return static_cast<uint32_t>(
      std::bit_ceil(std::clamp<uint64_t>(expected_entries / 4096, 64, 4096)));
}

}  // namespace hshm::ipc::map_layout

#endif  // HSHM_DATA_STRUCTURES_UNORDERED_MAP_LAYOUT_H_
