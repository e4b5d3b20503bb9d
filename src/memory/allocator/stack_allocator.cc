#include "hermes_shm/memory/allocator/stack_allocator.h"

#include <string>

#include "hermes_shm/base/error.h"

namespace hshm::ipc {

// ---- set-up
// --------------------------------------------------------------------------------------

MemContext StackAllocator::Init(Offset core) {
  const uint64_t end = bits::AlignDown(region_.size_bytes_, kStackUnit);
  const uint64_t bottom = core + sizeof(StackHeader);
  if (end / kStackUnit >= uint64_t{1} << StackWord::kTopBits) {
    throw Error(ErrorCode::kOutOfRange,
                "Cannot make a StackAllocator on a region of " + std::to_string(end) +
                    " bytes: 2 TiB is the most it can address. Ask for a smaller region.");
  }
  if (bottom + 2 * kStackUnit > end || !region_.services_->Commit(core, sizeof(StackHeader))) {
    throw Error(ErrorCode::kNoSpace,
                "Cannot make a StackAllocator: there is no room for its header of " +
                    std::to_string(sizeof(StackHeader)) + " bytes at offset " +
                    std::to_string(core) + " of a region of " + std::to_string(end) +
                    " bytes. Make the region larger, or its file system.");
  }
  auto* stack = region_.At<StackHeader>(core);
  stack->bottom_ = bottom;
  stack->end_ = end;
  // relaxed, both: nobody sees the header before FinishInit publishes it
  stack->word_.store(StackWord{bottom, 0}.Pack(), std::memory_order_relaxed);
  stack->committed_.store(bottom, std::memory_order_relaxed);
  stack_ = stack;
  return CreateTls(MemContext());
}

MemContext StackAllocator::Attach(Offset core) {
  auto* stack = region_.At<StackHeader>(core);
  if (stack->bottom_ != core + sizeof(StackHeader) ||
      stack->end_ != bits::AlignDown(region_.size_bytes_, kStackUnit)) {
    EndAttachment();
    throw Error(ErrorCode::kCorrupt, "The StackAllocator's header at offset " +
                                         std::to_string(core) +
                                         " does not fit its region: it was overwritten. Make the "
                                         "region anew.");
  }
  stack_ = stack;
  return CreateTls(MemContext());
}

MemContext StackAllocator::CreateTls(const MemContext& ctx) noexcept {
  if (stack_ == nullptr) defect::NotAttached("CreateTls");
  if (ctx.IsValid() && !ctx.IsArena()) return ctx;
  return MemContext(membership_.IsMember() ? membership_.slot() : MemContext::kNone, 0);
}

void StackAllocator::FreeTls(const MemContext& /*there is nothing to free*/) noexcept {
  if (stack_ == nullptr) defect::NotAttached("FreeTls");
}

// ---- operations
// ----------------------------------------------------------------------------------

OffsetPtr<> StackAllocator::AllocateBlock(size_t size, size_t alignment) noexcept {
  return OffsetPtr<>(Core().AlignedAllocate(size, alignment));
}

void StackAllocator::FreeBlock(OffsetPtr<> offset) noexcept { Core().Free(offset.load()); }

OffsetPtr<> StackAllocator::ReallocateBlock(OffsetPtr<> offset, size_t size) noexcept {
  return OffsetPtr<>(Core().Reallocate(offset.load(), size));
}

bool StackAllocator::ResizeBlock(OffsetPtr<> offset, size_t size) noexcept {
  return Core().ResizeInPlace("ResizeInPlace", offset.load(), size);
}

size_t StackAllocator::GetUsableBytes(OffsetPtr<> offset) noexcept {
  return Core().UsableBytes(offset.load());
}

size_t StackAllocator::GetCurrentlyAllocatedSize() noexcept { return Core().AllocatedBytes(); }

void StackAllocator::AddStats(AllocatorStats* stats) {
  // relaxed, both: figures, true at some moment
  const StackWord word = StackWord::From(stack_->word_.load(std::memory_order_relaxed));
  const uint64_t committed = stack_->committed_.load(std::memory_order_relaxed);
  stats->capacity_bytes_ = stack_->end_ - stack_->bottom_;
  stats->committed_bytes_ = committed - stack_->bottom_;
  stats->live_bytes_ = word.top_ - stack_->bottom_;
  stats->live_blocks_ = word.live_;
  stats->peak_bytes_ = stats->committed_bytes_;
  stats->peak_counts_ = "memory ever used";
  stats->free_bytes_ = stack_->end_ - word.top_;
  stats->largest_free_bytes_ = stats->free_bytes_;
}

// ---- walking
// -------------------------------------------------------------------------------------

/** First place at or behind `from` that looks like a header, or top. */
uint64_t StackAllocator::NextHeader(Offset from, Offset top) const noexcept {
  while (from < top && !BlockAt(from)->IsHeader(from)) from += kStackUnit;
  return from;
}

bool StackAllocator::Check() noexcept {
  if (stack_ == nullptr) defect::NotAttached("Check");
  const StackHeader& stack = *stack_;
  // acquire, both: pairs with the release of the last change of each
  const StackWord word = StackWord::From(stack.word_.load(std::memory_order_acquire));
  const uint64_t committed = stack.committed_.load(std::memory_order_acquire);
  if (word.top_ < stack.bottom_ || word.top_ > committed || committed > stack.end_) return false;
  if (word.live_ == 0 && word.top_ != stack.bottom_) return false;
  uint64_t living = 0;
  bool in_order = true;  // until the first bytes that a death left without a header of their own
  for (Offset at = stack.bottom_; at < word.top_;) {
    const Offset header = NextHeader(at, word.top_);
    if (header == word.top_) break;
    in_order = in_order && header == at;
    const StackBlock* block = BlockAt(header);
    // relaxed: ordered by the loads above
    const uint64_t state = block->state_.load(std::memory_order_relaxed);
    const bool is_live = (state & ~StackBlock::kSizeMask) == StackBlock::LiveTag(header);
    at = header + sizeof(StackBlock) + block->bytes();
    if (at > word.top_) {
      // A freed block that is longer than the stack was there before a call that a death cut.
      if (in_order && is_live) return false;
      in_order = false;
      at = header + kStackUnit;
      continue;
    }
    if (is_live) ++living;
  }
  return living <= word.live_;
}

}  // namespace hshm::ipc
