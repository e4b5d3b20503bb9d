#ifndef HSHM_BENCH_LOOPS_TOUCH_H_
#define HSHM_BENCH_LOOPS_TOUCH_H_

#include <concepts>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>

namespace hshm::bench {

/**
 * What the loops run on, from one thread. A Block is what a user of that interface keeps; a word is
 * what one member of a crew tells another about a block.
 */
template <typename H>
concept Heap = requires(H heap, typename H::Block block, size_t size, uint64_t word) {
  { heap.Allocate(size) } -> std::same_as<typename H::Block>;
  {heap.Free(block)};
  { heap.AddressOf(block) } -> std::same_as<char*>;
  { heap.ToWord(block) } -> std::same_as<uint64_t>;
  { heap.FromWord(word) } -> std::same_as<typename H::Block>;
};

/** A figure of a loop that ran out of memory would mean nothing. */
[[noreturn]] inline void StopWith(const char* sentence) {
  std::fprintf(stderr, "bench: %s\n", sentence);
  std::exit(3);
}

/** Writes the block's first byte, as any use does. */
template <Heap H>
inline void Touch(H& heap, typename H::Block block) {
  char* address = heap.AddressOf(block);
  if (address == nullptr) [[unlikely]]
    StopWith("an allocation failed");
  *static_cast<volatile char*>(address) = 1;
}

inline constexpr size_t kTouchStride = 4096;  // the smallest page of any system we run on

/** Writes a byte of each page, so that all of the block is resident. */
template <Heap H>
inline void TouchPages(H& heap, typename H::Block block, size_t size_bytes) {
  Touch(heap, block);
  volatile char* address = heap.AddressOf(block);
  for (size_t at = kTouchStride; at < size_bytes; at += kTouchStride) address[at] = 1;
  address[size_bytes - 1] = 1;
}

}  // namespace hshm::bench

#endif  // HSHM_BENCH_LOOPS_TOUCH_H_
