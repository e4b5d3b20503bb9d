#ifndef HSHM_MEMORY_ALLOCATOR_MULTI_PROCESS_SIZE_CLASSES_H_
#define HSHM_MEMORY_ALLOCATOR_MULTI_PROCESS_SIZE_CLASSES_H_

#include <array>
#include <cstdint>

#include "hermes_shm/base/bits.h"

namespace hshm::ipc::multi_process {

/**
 * Block sizes of the page heap: multiples of 16 up to 128 bytes, then eight sizes a doubling, so
 * that at most an eighth of a block is waste.
 *
 *     class   0  1  2 ...   7 |   8   9 ...  15 |  16  17 ...  23 | ...
 *     bytes  16 32 48 ... 128 | 144 160 ... 256 | 288 320 ... 512 | ...
 *
 * A size that is a multiple of a power of two 2^a is served by a class that is one too: the steps
 * of a doubling are finer than 2^a (then the size itself is a class) or multiples of it. Aligned
 * blocks need nothing else.
 */
constexpr uint32_t ClassOf(uint64_t size_bytes) {
  if (size_bytes <= 128) return size_bytes <= 16 ? 0 : static_cast<uint32_t>((size_bytes - 1) / 16);
  const uint32_t doubling = bits::FloorLog2(size_bytes - 1);  // 7 for 129..256
  return 8 * (doubling - 7) + static_cast<uint32_t>((size_bytes - 1) >> (doubling - 3));
}

/** Bytes of a block of the class: the largest size that ClassOf maps to it. */
constexpr uint64_t ClassBytes(uint32_t size_class) {
  if (size_class < 8) return 16 * (uint64_t{size_class} + 1);
  return uint64_t{9 + (size_class - 8) % 8} << ((size_class - 8) / 8 + 4);
}

static_assert(ClassOf(0) == 0 && ClassOf(16) == 0 && ClassOf(17) == 1 && ClassOf(128) == 7);
static_assert(ClassOf(129) == 8 && ClassOf(144) == 8 && ClassOf(145) == 9 && ClassOf(256) == 15);
static_assert(ClassOf(257) == 16 && ClassOf(65536) == 79 && ClassBytes(79) == 65536);
static_assert(ClassBytes(8) == 144 && ClassBytes(15) == 256 && ClassBytes(16) == 288);

/** ClassOf for the sizes up to 1 KiB, by table: one load on the hot path. */
inline constexpr uint64_t kTableBytes = 1024;
using ClassTable = std::array<uint8_t, kTableBytes / 16 + 1>;
inline constexpr ClassTable kClassTable = [] {
  ClassTable table{};
  for (uint64_t i = 0; i < table.size(); ++i) table[i] = static_cast<uint8_t>(ClassOf(i * 16));
  return table;
}();

/** ClassOf for larger sizes up to 64 KiB. They come in steps of 128 bytes and more. */
inline constexpr uint64_t kLargeTableBytes = 64 * 1024;
using LargeClassTable = std::array<uint8_t, kLargeTableBytes / 128 + 1>;
inline constexpr LargeClassTable kLargeClassTable = [] {
  LargeClassTable table{};
  for (uint64_t i = 0; i < table.size(); ++i) table[i] = static_cast<uint8_t>(ClassOf(i * 128));
  return table;
}();

HSHM_INLINE uint32_t LargeClassOf(uint64_t size_bytes) {
  return kLargeClassTable[(size_bytes + 127) / 128];
}
HSHM_INLINE uint32_t FastClassOf(uint64_t size_bytes) {
  if (HSHM_LIKELY(size_bytes <= kTableBytes)) return kClassTable[(size_bytes + 15) / 16];
  return LargeClassOf(size_bytes);
}

}  // namespace hshm::ipc::multi_process

#endif  // HSHM_MEMORY_ALLOCATOR_MULTI_PROCESS_SIZE_CLASSES_H_
