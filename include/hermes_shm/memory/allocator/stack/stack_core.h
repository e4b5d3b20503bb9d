#ifndef HSHM_MEMORY_ALLOCATOR_STACK_STACK_CORE_H_
#define HSHM_MEMORY_ALLOCATOR_STACK_STACK_CORE_H_

#include <cstdint>
#include <cstring>
#include <type_traits>

#include "hermes_shm/base/bits.h"
#include "hermes_shm/base/defects.h"
#include "hermes_shm/base/types.h"
#include "hermes_shm/base/units.h"
#include "hermes_shm/memory/allocator/stack/layout.h"
#include "hermes_shm/memory/backend/region.h"

namespace hshm::ipc {

/**
 * The operations of StackAllocator, whose page states the protocol, on a region and the header in
 * it: a value without a handle, the same code on the host and in kernels. Null is 0.
 */
class StackCore {
 public:
  StackCore() = default;
  HSHM_CROSS_FUN StackCore(const Region& region, StackHeader* stack) noexcept
      : region_(region), stack_(stack) {}

  HSHM_CROSS_FUN const Region& region() const noexcept { return region_; }

  HSHM_CROSS_FUN Offset AlignedAllocate(uint64_t size, uint64_t alignment) const noexcept;
  HSHM_CROSS_FUN Offset Reallocate(Offset offset, uint64_t size) const noexcept;
  HSHM_CROSS_FUN bool ResizeInPlace(const char* operation, Offset offset,
                                    uint64_t size) const noexcept;
  HSHM_CROSS_FUN void Free(Offset offset) const noexcept;

  /** Of a block: its size in whole units. */
  HSHM_CROSS_FUN uint64_t UsableBytes(Offset offset) const noexcept {
    return LivingBlock("GetUsableSize", offset)->bytes();
  }
  /** Bytes between bottom and top. */
  HSHM_CROSS_FUN uint64_t AllocatedBytes() const noexcept {
    const StackHeader& stack = Stack("GetCurrentlyAllocatedSize");
    // relaxed: a figure, true at some moment
    return StackWord::From(stack.word_.load(std::memory_order_relaxed)).top_ - stack.bottom_;
  }

 private:
  // At first little, so that a small use of a large region stays small; then few system calls.
  static constexpr uint64_t kMinCommitStep = 64_KiB;
  static constexpr uint64_t kMaxCommitStep = 2_MiB;

  /** Rounded to whole units, at least one. Callers have bounded it. */
  HSHM_CROSS_FUN static uint64_t BlockBytes(uint64_t size) noexcept {
    return size == 0 ? kStackUnit : bits::AlignUp(size, kStackUnit);
  }
  HSHM_CROSS_FUN StackHeader& Stack(const char* operation) const noexcept {
    if (HSHM_UNLIKELY(stack_ == nullptr)) defect::NotAttached(operation);
    return *stack_;
  }
  HSHM_CROSS_FUN StackBlock* BlockAt(Offset header) const noexcept {
    return region_.At<StackBlock>(header);
  }
  HSHM_CROSS_FUN StackBlock* LivingBlock(const char* operation, Offset offset) const noexcept;
  HSHM_CROSS_FUN bool EnsureCommitted(uint64_t end) const noexcept;
  HSHM_CROSS_FUN bool ResizeTop(Offset offset, StackBlock* block,
                                uint64_t new_bytes) const noexcept;

  Region region_;
  StackHeader* stack_ = nullptr;
};
static_assert(std::is_trivially_copyable_v<StackCore>);

HSHM_CROSS_FUN inline bool StackCore::EnsureCommitted(uint64_t end) const noexcept {
  // acquire: pairs with the release below; what is committed can be touched
  uint64_t committed = stack_->committed_.load(std::memory_order_acquire);
  if (HSHM_LIKELY(end <= committed)) return true;
  const uint64_t step = bits::Clamp(committed - stack_->bottom_, kMinCommitStep, kMaxCommitStep);
  uint64_t target = bits::Min(bits::Max(end, committed + step), stack_->end_);
  if (!region_.Commit(committed, target - committed)) {
    target = end;
    if (!region_.Commit(committed, target - committed)) return false;
  }
  while (committed < target &&
         !stack_->committed_.compare_exchange_weak(
             committed, target, std::memory_order_release,  // pairs with the acquire above
             std::memory_order_relaxed)) {                  // relaxed: tried again
  }
  return true;
}

HSHM_INLINE_CROSS_FUN Offset StackCore::AlignedAllocate(uint64_t size,
                                                        uint64_t alignment) const noexcept {
  StackHeader& stack = Stack("AllocateOffset");
  if (HSHM_UNLIKELY(!bits::IsPowerOfTwo(alignment))) {
    defect::BadAlignment("AlignedAllocateOffset", alignment);
  }
  if (HSHM_UNLIKELY(size > stack.end_ || alignment > stack.end_)) return kNullOffset;
  const uint64_t bytes = BlockBytes(size);
  const uint64_t boundary = bits::Max<uint64_t>(alignment, kStackUnit);
  uint64_t seen = stack.word_.load(std::memory_order_relaxed);  // relaxed: the CAS reads it again
  StackWord word;
  Offset offset = 0;
  do {
    word = StackWord::From(seen);
    offset = bits::AlignUp(word.top_ + sizeof(StackBlock), boundary);
    if (offset + bytes > stack.end_ || word.live_ == StackWord::kMaxLive) return kNullOffset;
    if (!EnsureCommitted(offset + bytes)) return kNullOffset;
  } while (!StackWord::Replace(&stack.word_, &seen, StackWord{offset + bytes, word.live_ + 1}));
  const Offset header = offset - sizeof(StackBlock);
  const uint64_t padding = header - word.top_;
  if (padding != 0) {  // reads as a block that has been freed
    StackBlock* filler = BlockAt(word.top_);
    filler->SetBytes(word.top_, padding - sizeof(StackBlock));
    // relaxed: read by walks alone
    filler->state_.store(StackBlock::FreedTag(word.top_), std::memory_order_relaxed);
  }
  StackBlock* block = BlockAt(header);
  block->SetBytes(header, bytes);
  // relaxed: whoever frees the block got its offset from us, in an order of the caller's
  block->state_.store(StackBlock::LiveTag(header) | (padding / kStackUnit),
                      std::memory_order_relaxed);
  return offset;
}

/** The header of a block that may be freed; stops with the defect's name when it is none. */
HSHM_CROSS_FUN inline StackBlock* StackCore::LivingBlock(const char* operation,
                                                         Offset offset) const noexcept {
  StackHeader& stack = Stack(operation);
  if (offset < stack.bottom_ + sizeof(StackBlock) || offset >= stack.end_) {
    defect::ForeignPointer(operation, offset, region_.size_bytes_);
  }
  // relaxed: a block's memory was committed before the caller got its offset
  if (offset % kStackUnit != 0 || offset > stack.committed_.load(std::memory_order_relaxed)) {
    defect::InvalidFree(operation, offset);
  }
  const Offset header = offset - sizeof(StackBlock);
  StackBlock* block = BlockAt(header);
  if (!block->IsHeader(header)) defect::InvalidFree(operation, offset);
  // relaxed: the caller's own order brought it the offset
  const uint64_t state = block->state_.load(std::memory_order_relaxed);
  if ((state & ~StackBlock::kSizeMask) == StackBlock::FreedTag(header))
    defect::DoubleFree(operation, offset);
  // relaxed: top cannot fall below a living block
  const StackWord word = StackWord::From(stack.word_.load(std::memory_order_relaxed));
  if (block->bytes() > stack.end_ || offset + block->bytes() > word.top_) {
    defect::Corruption("a block's size", header);
  }
  return block;
}

HSHM_INLINE_CROSS_FUN void StackCore::Free(Offset offset) const noexcept {
  StackBlock* block = LivingBlock("FreeOffset", offset);
  const Offset header = offset - sizeof(StackBlock);
  const uint64_t end = offset + block->bytes();
  uint64_t state = block->state_.load(std::memory_order_relaxed);  // relaxed: own block
  const uint64_t begin = header - (state & StackBlock::kSizeMask) * kStackUnit;
  // relaxed, both: it only decides between two wrong callers; word_ orders the bytes
  if (!block->state_.compare_exchange_strong(state, StackBlock::FreedTag(header),
                                             std::memory_order_relaxed,
                                             std::memory_order_relaxed)) {
    defect::DoubleFree("FreeOffset", offset);
  }
  uint64_t seen = stack_->word_.load(std::memory_order_relaxed);  // relaxed: the CAS reads it again
  StackWord next;
  do {
    const StackWord word = StackWord::From(seen);
    if (word.live_ == 0) defect::Corruption("the count of living blocks", stack_->bottom_);
    next = {word.top_ == end ? begin : word.top_, word.live_ - 1};
    if (next.live_ == 0) next.top_ = stack_->bottom_;
  } while (!StackWord::Replace(&stack_->word_, &seen, next));
}

/** Moves top with the block's end. False when it is not the topmost, or there is no room. */
HSHM_CROSS_FUN inline bool StackCore::ResizeTop(Offset offset, StackBlock* block,
                                                uint64_t new_bytes) const noexcept {
  const uint64_t old_bytes = block->bytes();
  const Offset header = offset - sizeof(StackBlock);
  const uint64_t new_end = offset + new_bytes;
  uint64_t seen = stack_->word_.load(std::memory_order_relaxed);  // relaxed: the CAS reads it again
  const auto is_topmost = [&] { return StackWord::From(seen).top_ == offset + old_bytes; };
  if (!is_topmost()) return false;
  if (new_bytes > old_bytes && (new_end > stack_->end_ || !EnsureCommitted(new_end))) return false;
  if (new_bytes < old_bytes) block->SetBytes(header, new_bytes);  // never reaches beyond its bytes
  while (is_topmost()) {
    if (!StackWord::Replace(&stack_->word_, &seen, StackWord{new_end, StackWord::From(seen).live_}))
      continue;
    block->SetBytes(header, new_bytes);
    return true;
  }
  block->SetBytes(header, old_bytes);
  return false;
}

/** The topmost block moves top; any other fits, or does not. */
HSHM_CROSS_FUN inline bool StackCore::ResizeInPlace(const char* operation, Offset offset,
                                                    uint64_t size) const noexcept {
  StackBlock* block = LivingBlock(operation, offset);
  if (size > stack_->end_) return false;
  const uint64_t new_bytes = BlockBytes(size);
  return new_bytes == block->bytes() || ResizeTop(offset, block, new_bytes) ||
         new_bytes < block->bytes();
}

/** As ReallocateOffset: the old block stays when there is no room. */
HSHM_CROSS_FUN inline Offset StackCore::Reallocate(Offset offset, uint64_t size) const noexcept {
  if (ResizeInPlace("ReallocateOffset", offset, size)) return offset;
  if (size > stack_->end_) return kNullOffset;
  const uint64_t old_bytes = BlockAt(offset - sizeof(StackBlock))->bytes();
  const Offset moved = AlignedAllocate(size, kDefaultAlignment);
  if (moved == kNullOffset) return kNullOffset;
  memcpy(region_.base_ + moved, region_.base_ + offset, old_bytes);
  Free(offset);
  return moved;
}

}  // namespace hshm::ipc

#endif  // HSHM_MEMORY_ALLOCATOR_STACK_STACK_CORE_H_
