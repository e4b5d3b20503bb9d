#include "hermes_shm/memory/allocator/buddy_allocator.h"

#include <algorithm>
#include <string>

#include "hermes_shm/base/error.h"
#include "hermes_shm/base/units.h"

namespace hshm::ipc {

namespace {

constexpr uint64_t kMinGranuleBytes = 64;  // one cache line
constexpr uint64_t kMaxGranules = uint64_t{1} << 30;

/** Granule numbers of a region; end <= first when nothing fits. */
struct Layout {
  uint32_t granule_bytes_;
  uint32_t first_;
  uint32_t end_;
};

Layout LayoutFor(uint64_t region_bytes, Offset nodes_offset) {
  const uint64_t granule =
      std::max(kMinGranuleBytes, std::bit_ceil(bits::DivideUp(region_bytes, kMaxGranules)));
  const uint64_t end = region_bytes / granule;
  const uint64_t room = region_bytes > nodes_offset ? region_bytes - nodes_offset : 0;
  uint64_t count = room / (granule + sizeof(BuddyNode));
  const auto first_for = [&](uint64_t n) {
    return bits::DivideUp(nodes_offset + n * sizeof(BuddyNode), granule);
  };
  while (count > 0 && first_for(count) + count > end) --count;  // once or twice, for the rounding
  const uint64_t first = first_for(count);
  return {static_cast<uint32_t>(granule), static_cast<uint32_t>(first),
          static_cast<uint32_t>(first + count)};
}

}  // namespace

/** The lock as a process takes it; what a dead holder left is repaired. */
class BuddyAllocator::ProcessLock {
 public:
  explicit ProcessLock(BuddyAllocator* alloc) noexcept : alloc_(alloc) {}

  /** False, and the body has not run, in a forked child for which there is no slot, and when the
   * lock's holder is stopped. */
  template <typename Body>
  bool Run(BuddyHeader& buddy, const Body& body) const noexcept {
    const LockIdentity me = alloc_->membership_.IdentityOrRejoin();
    if (me.peers_ == nullptr) return false;
    const MutexGuard guard(buddy.lock_, me, alloc_->patience_.TimeoutUs(buddy.lock_));
    alloc_->patience_.Note(buddy.lock_, guard.result());
    if (!guard.IsHeld()) return false;
    if (guard.result() == LockResult::kOwnerDied) alloc_->Rebuild();
    body();
    return true;
  }
  void CannotFree(Offset /*block*/) const noexcept {}  // it stays: nobody broke a rule

 private:
  BuddyAllocator* alloc_;
};

BuddyCore<BuddyAllocator::ProcessLock> BuddyAllocator::Core() noexcept {
  return BuddyCore<ProcessLock>(region_, buddy_, ProcessLock(this));
}

// ---- set-up
// --------------------------------------------------------------------------------------

MemContext BuddyAllocator::Init(Offset core) {
  const Offset nodes_offset = core + sizeof(BuddyHeader);
  const Layout layout = LayoutFor(region_.size_bytes_, nodes_offset);
  if (layout.end_ <= layout.first_ || !region_.services_->Commit(core, sizeof(BuddyHeader))) {
    throw Error(ErrorCode::kNoSpace,
                "Cannot make a BuddyAllocator: there is no room for its header of " +
                    std::to_string(sizeof(BuddyHeader)) + " bytes and one block at offset " +
                    std::to_string(core) + " of a region of " +
                    std::to_string(region_.size_bytes_) +
                    " bytes. Make the region larger, or its file system.");
  }
  auto* buddy = new (region_.base_ + core) BuddyHeader{};
  buddy->granule_bytes_ = layout.granule_bytes_;
  buddy->first_ = layout.first_;
  buddy->end_ = layout.end_;
  buddy->nodes_offset_ = nodes_offset;
  buddy->frontier_ = layout.first_;
  buddy_ = buddy;
  return CreateTls(MemContext());
}

MemContext BuddyAllocator::Attach(Offset core) {
  auto* buddy = region_.At<BuddyHeader>(core);
  const Layout layout = LayoutFor(region_.size_bytes_, core + sizeof(BuddyHeader));
  if (buddy->granule_bytes_ != layout.granule_bytes_ || buddy->first_ != layout.first_ ||
      buddy->end_ != layout.end_ || buddy->nodes_offset_ != core + sizeof(BuddyHeader)) {
    EndAttachment();
    throw Error(ErrorCode::kCorrupt, "The BuddyAllocator's header at offset " +
                                         std::to_string(core) +
                                         " does not fit its region: it was overwritten. Make the "
                                         "region anew.");
  }
  buddy_ = buddy;
  return CreateTls(MemContext());
}

MemContext BuddyAllocator::CreateTls(const MemContext& ctx) noexcept {
  if (buddy_ == nullptr) defect::NotAttached("CreateTls");
  if (ctx.IsValid() && !ctx.IsArena()) return ctx;
  return MemContext(membership_.IsMember() ? membership_.slot() : MemContext::kNone, 0);
}

void BuddyAllocator::FreeTls(const MemContext& /*there is nothing to free*/) noexcept {
  if (buddy_ == nullptr) defect::NotAttached("FreeTls");
}

/** Makes the lists from the marks. Repeatable from any point: it changes no user mark. */
void BuddyAllocator::Rebuild() noexcept {
  const BuddyState state = State();
  BuddyEngine engine = state.Engine();
  engine.Reset();
  uint32_t gap = buddy_->first_;
  for (uint32_t at = gap; at < buddy_->frontier_;) {
    const uint32_t granules = state.LiveGranules(at);
    if (granules == 0) {
      ++at;
      continue;
    }
    if (granules > buddy_->frontier_ - at) {
      defect::Corruption("a block's mark", uint64_t{at} * buddy_->granule_bytes_);
    }
    engine.Free(gap, at - gap);
    at += granules;
    gap = at;
  }
  engine.Free(gap, buddy_->frontier_ - gap);
}

// ---- operations
// ----------------------------------------------------------------------------------

OffsetPtr<> BuddyAllocator::AllocateBlock(size_t size, size_t alignment) noexcept {
  return OffsetPtr<>(Core().AlignedAllocate(size, alignment));
}

void BuddyAllocator::FreeBlock(OffsetPtr<> offset) noexcept { Core().Free(offset.load()); }

OffsetPtr<> BuddyAllocator::ReallocateBlock(OffsetPtr<> offset, size_t size) noexcept {
  return OffsetPtr<>(Core().Reallocate(offset.load(), size));
}

bool BuddyAllocator::ResizeBlock(OffsetPtr<> offset, size_t size) noexcept {
  return Core().ResizeInPlace(offset.load(), size);
}

size_t BuddyAllocator::GetUsableBytes(OffsetPtr<> offset) noexcept {
  return Core().UsableBytes(offset.load());
}

size_t BuddyAllocator::GetCurrentlyAllocatedSize() noexcept { return Core().AllocatedBytes(); }

void BuddyAllocator::AddStats(AllocatorStats* stats) {
  stats->is_complete_ = ProcessLock(this).Run(*buddy_, [&] { AddStatsLocked(stats); });
}

void BuddyAllocator::AddStatsLocked(AllocatorStats* stats) const noexcept {
  const BuddyState state = State();
  const BuddyEngine engine = state.Engine();
  uint64_t largest = 0;
  uint64_t stretch = 0;  // free granules up to here
  for (uint32_t at = buddy_->first_; at < buddy_->frontier_;) {
    uint32_t granules = state.LiveGranules(at);
    uint32_t order = 0;
    if (granules != 0) {
      ++stats->live_blocks_;
      stretch = 0;
    } else {
      granules = engine.FreeBlockAt(at, &order) == at ? uint32_t{1} << order : 1;
      stretch += granules;
      largest = std::max(largest, stretch);
    }
    at += granules;
  }
  const uint64_t granule = buddy_->granule_bytes_;
  const uint64_t unused = buddy_->end_ - buddy_->frontier_;
  const uint64_t managed = buddy_->frontier_ - buddy_->first_;
  stats->capacity_bytes_ = (managed + unused) * granule;
  stats->committed_bytes_ = managed * granule;
  stats->live_bytes_ = (managed - engine.free_granules()) * granule;
  stats->peak_bytes_ = stats->committed_bytes_;
  stats->peak_counts_ = "memory ever used";
  stats->free_bytes_ = stats->capacity_bytes_ - stats->live_bytes_;
  stats->largest_free_bytes_ = std::max(largest, stretch + unused) * granule;
}

bool BuddyAllocator::Check() noexcept {
  if (buddy_ == nullptr) defect::NotAttached("Check");
  bool is_sound = false;
  ProcessLock(this).Run(*buddy_, [&] { is_sound = CheckLocked(); });
  return is_sound;
}

bool BuddyAllocator::CheckLocked() const noexcept {
  const BuddyState state = State();
  const uint32_t frontier = buddy_->frontier_;
  if (frontier < buddy_->first_ || frontier > buddy_->end_) return false;
  const BuddyEngine engine = state.Engine();
  if (!engine.Check()) return false;
  for (uint32_t at = buddy_->first_; at < frontier;) {
    const uint32_t live = state.LiveGranules(at);
    uint32_t order = 0;
    if (live == 0 && engine.FreeBlockAt(at, &order) != at) return false;  // belongs to nobody
    const uint32_t granules = live != 0 ? live : uint32_t{1} << order;
    if (granules > frontier - at) return false;
    for (uint32_t inside = at + 1; inside < at + granules; ++inside) {
      // relaxed: the lock orders it
      if (state.NodeOf(inside)->mark_.load(std::memory_order_relaxed) != 0) return false;
    }
    at += granules;
  }
  return true;
}

}  // namespace hshm::ipc
