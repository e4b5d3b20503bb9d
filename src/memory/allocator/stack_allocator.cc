#include "hermes_shm/memory/allocator/stack_allocator.h"

#include <algorithm>
#include <string>

#include "hermes_shm/base/error.h"
#include "hermes_shm/base/units.h"

namespace hshm::ipc {

namespace {

constexpr uint64_t kUnit = 16;  // alignment of every block, and the size of its header
constexpr uint32_t kTopBits = 37;
constexpr uint32_t kSizeBits = 40;
constexpr uint64_t kMaxLive = (uint64_t{1} << (64 - kTopBits)) - 1;
constexpr uint64_t kSizeMask = (uint64_t{1} << kSizeBits) - 1;
// At first little, so that a small use of a large region stays small; then few system calls.
constexpr uint64_t kMinCommitStep = 64_KiB;
constexpr uint64_t kMaxCommitStep = 2_MiB;

/** StackHeader::word_, taken apart. */
struct Word {
  uint64_t top_;   // offset
  uint64_t live_;  // blocks

  static Word From(uint64_t word) {
    return {(word & ((uint64_t{1} << kTopBits) - 1)) * kUnit, word >> kTopBits};
  }
  uint64_t Pack() const { return (live_ << kTopBits) | (top_ / kUnit); }
};

/** 24 bits that only a header at this very offset has. */
constexpr uint64_t SizeTag(Offset header) {
  return header * 0x9e3779b97f4a7c15 >> kSizeBits << kSizeBits;
}
constexpr uint64_t StateTag(Offset header, uint64_t state) {
  return ((header * 0xc2b2ae3d27d4eb4f >> kSizeBits & ~uint64_t{3}) | state) << kSizeBits;
}
constexpr uint64_t LiveTag(Offset header) { return StateTag(header, 1); }
constexpr uint64_t FreedTag(Offset header) { return StateTag(header, 2); }

bool IsHeader(const StackBlock* block, Offset header) {
  const uint64_t tag = block->state_.load(std::memory_order_relaxed) & ~kSizeMask;  // relaxed: own
  return (block->size_ & ~kSizeMask) == SizeTag(header) &&
         (tag == LiveTag(header) || tag == FreedTag(header));
}
uint64_t BytesOf(const StackBlock* block) { return (block->size_ & kSizeMask) * kUnit; }
void SetBytes(StackBlock* block, Offset header, uint64_t bytes) {
  block->size_ = SizeTag(header) | (bytes / kUnit);
}

bool Replace(Atomic<uint64_t>* word, uint64_t* seen, Word next) {
  return word->compare_exchange_weak(*seen, next.Pack(),
                                     std::memory_order_acq_rel,   // pairs with itself
                                     std::memory_order_relaxed);  // relaxed: tried again
}

/** Rounded to whole units, at least one. Callers have bounded it. */
uint64_t BlockBytes(uint64_t size) { return size == 0 ? kUnit : bits::AlignUp(size, kUnit); }

}  // namespace

// ---- set-up
// --------------------------------------------------------------------------------------

MemContext StackAllocator::Init(Offset core) {
  const uint64_t end = bits::AlignDown(region_.size_bytes_, kUnit);
  const uint64_t bottom = core + sizeof(StackHeader);
  if (end / kUnit >= uint64_t{1} << kTopBits) {
    throw Error(ErrorCode::kOutOfRange,
                "Cannot make a StackAllocator on a region of " + std::to_string(end) +
                    " bytes: 2 TiB is the most it can address. Ask for a smaller region.");
  }
  if (bottom + 2 * kUnit > end || !region_.services_->Commit(core, sizeof(StackHeader))) {
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
  stack->word_.store(Word{bottom, 0}.Pack(), std::memory_order_relaxed);
  stack->committed_.store(bottom, std::memory_order_relaxed);
  stack_ = stack;
  return CreateTls(MemContext());
}

MemContext StackAllocator::Attach(Offset core) {
  auto* stack = region_.At<StackHeader>(core);
  if (stack->bottom_ != core + sizeof(StackHeader) ||
      stack->end_ != bits::AlignDown(region_.size_bytes_, kUnit)) {
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
  if (ctx.IsValid() && !ctx.IsArena()) return ctx;
  return MemContext(membership_.IsMember() ? membership_.slot() : MemContext::kNone, 0);
}

void StackAllocator::FreeTls(const MemContext& /*there is nothing to free*/) noexcept {}

// ---- operations
// ----------------------------------------------------------------------------------

bool StackAllocator::EnsureCommitted(uint64_t end) noexcept {
  // acquire: pairs with the release below; what is committed can be touched
  uint64_t committed = stack_->committed_.load(std::memory_order_acquire);
  if (HSHM_LIKELY(end <= committed)) return true;
  const uint64_t step = std::clamp(committed - stack_->bottom_, kMinCommitStep, kMaxCommitStep);
  uint64_t target = std::min(std::max(end, committed + step), stack_->end_);
  if (!region_.services_->Commit(committed, target - committed)) {
    target = end;
    if (!region_.services_->Commit(committed, target - committed)) return false;
  }
  while (committed < target &&
         !stack_->committed_.compare_exchange_weak(
             committed, target, std::memory_order_release,  // pairs with the acquire above
             std::memory_order_relaxed)) {                  // relaxed: tried again
  }
  return true;
}

OffsetPtr<> StackAllocator::AllocateBlock(size_t size, size_t alignment) noexcept {
  StackHeader& stack = Stack("AllocateOffset");
  if (HSHM_UNLIKELY(!bits::IsPowerOfTwo(alignment))) {
    defect::BadAlignment("AlignedAllocateOffset", alignment);
  }
  if (HSHM_UNLIKELY(size > stack.end_ || alignment > stack.end_)) return OffsetPtr<>();
  const uint64_t bytes = BlockBytes(size);
  const uint64_t boundary = std::max<uint64_t>(alignment, kUnit);
  uint64_t seen = stack.word_.load(std::memory_order_relaxed);  // relaxed: the CAS reads it again
  Word word;
  Offset offset = 0;
  do {
    word = Word::From(seen);
    offset = bits::AlignUp(word.top_ + sizeof(StackBlock), boundary);
    if (offset + bytes > stack.end_ || word.live_ == kMaxLive) return OffsetPtr<>();
    if (!EnsureCommitted(offset + bytes)) return OffsetPtr<>();
  } while (!Replace(&stack.word_, &seen, Word{offset + bytes, word.live_ + 1}));
  const Offset header = offset - sizeof(StackBlock);
  const uint64_t padding = header - word.top_;
  if (padding != 0) {  // reads as a block that has been freed
    StackBlock* filler = BlockAt(word.top_);
    SetBytes(filler, word.top_, padding - sizeof(StackBlock));
    // relaxed: read by walks alone
    filler->state_.store(FreedTag(word.top_), std::memory_order_relaxed);
  }
  StackBlock* block = BlockAt(header);
  SetBytes(block, header, bytes);
  // relaxed: whoever frees the block got its offset from us, in an order of the caller's
  block->state_.store(LiveTag(header) | (padding / kUnit), std::memory_order_relaxed);
  return OffsetPtr<>(offset);
}

/** The header of a block that may be freed; stops with the defect's name when it is none. */
StackBlock* StackAllocator::LivingBlock(const char* operation, Offset offset) noexcept {
  StackHeader& stack = Stack(operation);
  if (offset < stack.bottom_ + sizeof(StackBlock) || offset >= stack.end_) {
    defect::ForeignPointer(operation, offset, region_.size_bytes_);
  }
  // relaxed: a block's memory was committed before the caller got its offset
  if (offset % kUnit != 0 || offset > stack.committed_.load(std::memory_order_relaxed)) {
    defect::InvalidFree(operation, offset);
  }
  const Offset header = offset - sizeof(StackBlock);
  StackBlock* block = BlockAt(header);
  if (!IsHeader(block, header)) defect::InvalidFree(operation, offset);
  // relaxed: the caller's own order brought it the offset
  const uint64_t state = block->state_.load(std::memory_order_relaxed);
  if ((state & ~kSizeMask) == FreedTag(header)) defect::DoubleFree(operation, offset);
  // relaxed: top cannot fall below a living block
  const Word word = Word::From(stack.word_.load(std::memory_order_relaxed));
  if (BytesOf(block) > stack.end_ || offset + BytesOf(block) > word.top_) {
    defect::Corruption("a block's size", header);
  }
  return block;
}

void StackAllocator::FreeBlock(OffsetPtr<> offset) noexcept {
  const Offset off = offset.load();
  StackBlock* block = LivingBlock("FreeOffset", off);
  const Offset header = off - sizeof(StackBlock);
  const uint64_t end = off + BytesOf(block);
  uint64_t state = block->state_.load(std::memory_order_relaxed);  // relaxed: own block
  const uint64_t begin = header - (state & kSizeMask) * kUnit;
  // relaxed, both: it only decides between two wrong callers; word_ orders the bytes
  if (!block->state_.compare_exchange_strong(state, FreedTag(header), std::memory_order_relaxed,
                                             std::memory_order_relaxed)) {
    defect::DoubleFree("FreeOffset", off);
  }
  uint64_t seen = stack_->word_.load(std::memory_order_relaxed);  // relaxed: the CAS reads it again
  Word next;
  do {
    const Word word = Word::From(seen);
    if (word.live_ == 0) defect::Corruption("the count of living blocks", stack_->bottom_);
    next = {word.top_ == end ? begin : word.top_, word.live_ - 1};
    if (next.live_ == 0) next.top_ = stack_->bottom_;
  } while (!Replace(&stack_->word_, &seen, next));
}

/** Moves top with the block's end. False when it is not the topmost, or there is no room. */
bool StackAllocator::ResizeTop(Offset offset, StackBlock* block, uint64_t new_bytes) noexcept {
  const uint64_t old_bytes = BytesOf(block);
  const Offset header = offset - sizeof(StackBlock);
  const uint64_t new_end = offset + new_bytes;
  uint64_t seen = stack_->word_.load(std::memory_order_relaxed);  // relaxed: the CAS reads it again
  const auto is_topmost = [&] { return Word::From(seen).top_ == offset + old_bytes; };
  if (!is_topmost()) return false;
  if (new_bytes > old_bytes && (new_end > stack_->end_ || !EnsureCommitted(new_end))) return false;
  if (new_bytes < old_bytes) SetBytes(block, header, new_bytes);  // never reaches beyond its bytes
  while (is_topmost()) {
    if (!Replace(&stack_->word_, &seen, Word{new_end, Word::From(seen).live_})) continue;
    SetBytes(block, header, new_bytes);
    return true;
  }
  SetBytes(block, header, old_bytes);
  return false;
}

OffsetPtr<> StackAllocator::ReallocateBlock(OffsetPtr<> offset, size_t size) noexcept {
  StackBlock* block = LivingBlock("ReallocateOffset", offset.load());
  if (size > stack_->end_) return OffsetPtr<>();
  const uint64_t old_bytes = BytesOf(block);
  const uint64_t new_bytes = BlockBytes(size);
  if (new_bytes == old_bytes || ResizeTop(offset.load(), block, new_bytes)) return offset;
  if (new_bytes < old_bytes) return offset;
  const OffsetPtr<> moved = AllocateBlock(size, kDefaultAlignment);
  if (moved.IsNull()) return moved;
  std::memcpy(region_.base_ + moved.load(), region_.base_ + offset.load(), old_bytes);
  FreeBlock(offset);
  return moved;
}

size_t StackAllocator::GetCurrentlyAllocatedSize() noexcept {
  StackHeader& stack = Stack("GetCurrentlyAllocatedSize");
  // relaxed: a figure, true at some moment
  return Word::From(stack.word_.load(std::memory_order_relaxed)).top_ - stack.bottom_;
}

void StackAllocator::AddStats(AllocatorStats* stats) {
  // relaxed, both: figures, true at some moment
  const Word word = Word::From(stack_->word_.load(std::memory_order_relaxed));
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
  while (from < top && !IsHeader(BlockAt(from), from)) from += kUnit;
  return from;
}

bool StackAllocator::Check() noexcept {
  StackHeader& stack = Stack("Check");
  // acquire, both: pairs with the release of the last change of each
  const Word word = Word::From(stack.word_.load(std::memory_order_acquire));
  const uint64_t committed = stack.committed_.load(std::memory_order_acquire);
  if (word.top_ < stack.bottom_ || word.top_ > committed || committed > stack.end_) return false;
  if (word.live_ == 0 && word.top_ != stack.bottom_) return false;
  uint64_t living = 0;
  bool in_order = true;  // until the first bytes that a death left without a header
  for (Offset at = stack.bottom_; at < word.top_;) {
    const Offset header = NextHeader(at, word.top_);
    if (header == word.top_) break;
    in_order = in_order && header == at;
    const StackBlock* block = BlockAt(header);
    at = header + sizeof(StackBlock) + BytesOf(block);
    if (at > word.top_) {
      if (in_order) return false;
      at = header + kUnit;  // what an earlier block left in those bytes
      continue;
    }
    // relaxed: ordered by the loads above
    const uint64_t state = block->state_.load(std::memory_order_relaxed);
    if ((state & ~kSizeMask) == LiveTag(header)) ++living;
  }
  return living <= word.live_;
}

}  // namespace hshm::ipc
