#include "hermes_shm/memory/allocator/buddy_allocator.h"

#include <algorithm>
#include <optional>
#include <string>

#include "hermes_shm/base/error.h"
#include "hermes_shm/base/units.h"

namespace hshm::ipc {

namespace {

constexpr uint64_t kMinGranuleBytes = 64;  // one cache line
constexpr uint64_t kMaxGranules = uint64_t{1} << 30;
constexpr uint16_t kTag = 0;  // one set of lists
// At first little, so that a small use of a large region stays small; then few system calls.
constexpr uint64_t kMinCommitStep = 64_KiB;
constexpr uint64_t kMaxCommitStep = 4_MiB;

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

/** The lock, held; what a dead holder left is repaired. Empty in a process without a slot. */
class BuddyAllocator::Locked {
 public:
  explicit Locked(BuddyAllocator* alloc) noexcept : Locked(alloc, alloc->Identity()) {}
  bool IsHeld() const noexcept { return guard_.has_value(); }

 private:
  Locked(BuddyAllocator* alloc, const LockIdentity& me) noexcept {
    if (me.peers_ == nullptr) return;
    guard_.emplace(alloc->buddy_->lock_, me);
    if (guard_->result() == LockResult::kOwnerDied) alloc->Rebuild();
  }
  std::optional<MutexGuard> guard_;
};

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
  if (ctx.IsValid() && !ctx.IsArena()) return ctx;
  return MemContext(membership_.IsMember() ? membership_.slot() : MemContext::kNone, 0);
}

void BuddyAllocator::FreeTls(const MemContext& /*there is nothing to free*/) noexcept {}

// ---- state under the lock
// ------------------------------------------------------------------------

BuddyEngine BuddyAllocator::Engine() const noexcept {
  const uintptr_t nodes = reinterpret_cast<uintptr_t>(region_.base_) + buddy_->nodes_offset_;
  return BuddyEngine(nodes - uintptr_t{buddy_->first_} * sizeof(BuddyNode), &buddy_->lists_,
                     buddy_->first_, buddy_->frontier_ - buddy_->first_, kTag, kBuddyMaxOrder);
}

/** Granules of the block that begins here, 0 when none does. */
uint32_t BuddyAllocator::LiveGranules(uint32_t granule) const noexcept {
  // relaxed: the lock orders it
  const uint32_t mark = NodeOf(granule)->mark_.load(std::memory_order_relaxed);
  return (mark & kBuddyUserMark) != 0 ? mark & ~kBuddyUserMark : 0;
}

/** The granule of a living block; stops with the defect's name when offset is none. */
uint32_t BuddyAllocator::BlockAt(const char* operation, Offset offset) const noexcept {
  const uint64_t granule_bytes = buddy_->granule_bytes_;
  const uint64_t number = offset / granule_bytes;
  if (number < buddy_->first_ || number >= buddy_->end_) {
    defect::ForeignPointer(operation, offset, region_.size_bytes_);
  }
  const uint32_t granule = static_cast<uint32_t>(number);
  if (granule >= buddy_->frontier_) defect::InvalidFree(operation, offset);
  if (offset % granule_bytes == 0 && LiveGranules(granule) != 0) return granule;
  if (Engine().IsFree(granule)) defect::DoubleFree(operation, offset);
  defect::InvalidFree(operation, offset);
}

bool BuddyAllocator::CommitTo(uint32_t new_frontier) noexcept {
  const uint32_t old = buddy_->frontier_;
  const uint64_t granule = buddy_->granule_bytes_;
  const uint64_t count = new_frontier - old;
  const Offset nodes = buddy_->nodes_offset_ + uint64_t{old - buddy_->first_} * sizeof(BuddyNode);
  if (!region_.services_->Commit(nodes, count * sizeof(BuddyNode))) return false;
  if (!region_.services_->Commit(old * granule, count * granule)) return false;
  buddy_->frontier_ = new_frontier;
  Engine().Free(old, static_cast<uint32_t>(count));
  return true;
}

/** Makes granules up to needed_frontier usable, and some more when the system has them. */
bool BuddyAllocator::GrowTo(uint64_t needed_frontier) noexcept {
  const uint32_t old = buddy_->frontier_;
  if (needed_frontier <= old) return true;
  if (needed_frontier > buddy_->end_) return false;
  const uint64_t used_bytes = uint64_t{old - buddy_->first_} * buddy_->granule_bytes_;
  const uint64_t step = std::clamp(used_bytes, kMinCommitStep, kMaxCommitStep);
  const uint64_t wanted =
      std::clamp<uint64_t>(old + step / buddy_->granule_bytes_, needed_frontier, buddy_->end_);
  return CommitTo(static_cast<uint32_t>(wanted)) ||
         CommitTo(static_cast<uint32_t>(needed_frontier));
}

/** A run of free granules, from the free ones or from behind the frontier. */
uint32_t BuddyAllocator::TakeOrGrow(uint32_t granules, uint32_t alignment) noexcept {
  const uint32_t got = Engine().Allocate(granules, alignment);
  if (got != BuddyEngine::kNone || buddy_->frontier_ == buddy_->end_) return got;
  uint32_t start = buddy_->frontier_;  // where the free granules before the frontier begin
  uint32_t order = 0;
  for (;;) {
    const uint32_t block = Engine().FreeBlockAt(start - 1, &order);
    if (block == BuddyEngine::kNone) break;
    start = block;
  }
  const uint64_t aligned = bits::AlignUp(start, alignment);
  if (!GrowTo(aligned + granules)) return BuddyEngine::kNone;
  const bool taken = Engine().TakeRange(static_cast<uint32_t>(aligned), granules);
  HSHM_CHECK(taken);
  return static_cast<uint32_t>(aligned);
}

bool BuddyAllocator::ResizeInPlace(uint32_t granule, uint32_t old_granules,
                                   uint32_t new_granules) noexcept {
  Atomic<uint32_t>& mark = NodeOf(granule)->mark_;
  const uint32_t old_end = granule + old_granules;
  if (new_granules > old_granules) {
    const uint32_t more = new_granules - old_granules;
    if (!GrowTo(uint64_t{old_end} + more) || !Engine().TakeRange(old_end, more)) return false;
  }
  mark.store(kBuddyUserMark | new_granules, std::memory_order_relaxed);  // relaxed: the lock's
  if (new_granules < old_granules) {
    Engine().Free(granule + new_granules, old_granules - new_granules);
  }
  return true;
}

/** Makes the lists from the marks. Repeatable from any point: it changes no user mark. */
void BuddyAllocator::Rebuild() noexcept {
  BuddyEngine engine = Engine();
  engine.Reset();
  uint32_t gap = buddy_->first_;
  for (uint32_t at = gap; at < buddy_->frontier_;) {
    const uint32_t granules = LiveGranules(at);
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
  Require("AllocateOffset");
  if (HSHM_UNLIKELY(!bits::IsPowerOfTwo(alignment))) {
    defect::BadAlignment("AlignedAllocateOffset", alignment);
  }
  const uint64_t granules = GranulesFor(size);
  const uint64_t granule_bytes = buddy_->granule_bytes_;
  const uint64_t boundary = std::max<uint64_t>(alignment / granule_bytes, 1);
  if (granules > buddy_->end_ || boundary > buddy_->end_) return OffsetPtr<>();
  Locked locked(this);
  if (!locked.IsHeld()) return OffsetPtr<>();
  const uint32_t granule =
      TakeOrGrow(static_cast<uint32_t>(granules), static_cast<uint32_t>(boundary));
  if (granule == BuddyEngine::kNone) return OffsetPtr<>();
  // relaxed: the lock's
  NodeOf(granule)->mark_.store(kBuddyUserMark | static_cast<uint32_t>(granules),
                               std::memory_order_relaxed);
  return OffsetPtr<>(granule * granule_bytes);
}

void BuddyAllocator::FreeBlock(OffsetPtr<> offset) noexcept {
  Require("FreeOffset");
  Locked locked(this);
  if (!locked.IsHeld()) defect::NotAttached("FreeOffset");
  const uint32_t granule = BlockAt("FreeOffset", offset.load());
  const uint32_t granules = LiveGranules(granule);
  NodeOf(granule)->mark_.store(0, std::memory_order_relaxed);  // relaxed: the lock's
  Engine().Free(granule, granules);
}

OffsetPtr<> BuddyAllocator::ReallocateBlock(OffsetPtr<> offset, size_t size) noexcept {
  Require("ReallocateOffset");
  const uint64_t granules = GranulesFor(size);
  uint64_t old_bytes = 0;
  {
    Locked locked(this);
    if (!locked.IsHeld()) return OffsetPtr<>();
    const uint32_t granule = BlockAt("ReallocateOffset", offset.load());
    if (granules > buddy_->end_) return OffsetPtr<>();
    const uint32_t old_granules = LiveGranules(granule);
    if (ResizeInPlace(granule, old_granules, static_cast<uint32_t>(granules))) return offset;
    old_bytes = uint64_t{old_granules} * buddy_->granule_bytes_;
  }
  const OffsetPtr<> moved = AllocateBlock(size, kDefaultAlignment);
  if (moved.IsNull()) return moved;
  std::memcpy(region_.base_ + moved.load(), region_.base_ + offset.load(), old_bytes);
  FreeBlock(offset);
  return moved;
}

size_t BuddyAllocator::GetCurrentlyAllocatedSize() noexcept {
  Require("GetCurrentlyAllocatedSize");
  Locked locked(this);
  if (!locked.IsHeld()) return 0;
  const uint64_t managed = buddy_->frontier_ - buddy_->first_;
  return (managed - buddy_->lists_.free_granules_) * buddy_->granule_bytes_;
}

void BuddyAllocator::AddStats(AllocatorStats* stats) {
  Locked locked(this);
  stats->is_complete_ = locked.IsHeld();
  if (!locked.IsHeld()) return;
  const BuddyEngine engine = Engine();
  uint64_t largest = 0;
  uint64_t stretch = 0;  // free granules up to here
  for (uint32_t at = buddy_->first_; at < buddy_->frontier_;) {
    uint32_t granules = LiveGranules(at);
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
  Require("Check");
  Locked locked(this);
  if (!locked.IsHeld()) return false;
  const uint32_t frontier = buddy_->frontier_;
  if (frontier < buddy_->first_ || frontier > buddy_->end_) return false;
  const BuddyEngine engine = Engine();
  if (!engine.Check()) return false;
  for (uint32_t at = buddy_->first_; at < frontier;) {
    const uint32_t live = LiveGranules(at);
    uint32_t order = 0;
    if (live == 0 && engine.FreeBlockAt(at, &order) != at) return false;  // belongs to nobody
    const uint32_t granules = live != 0 ? live : uint32_t{1} << order;
    if (granules > frontier - at) return false;
    for (uint32_t inside = at + 1; inside < at + granules; ++inside) {
      // relaxed: the lock orders it
      if (NodeOf(inside)->mark_.load(std::memory_order_relaxed) != 0) return false;
    }
    at += granules;
  }
  return true;
}

}  // namespace hshm::ipc
