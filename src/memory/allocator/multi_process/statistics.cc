/** ProcessBlock::AddStats: counts what the page table, the head words and the heaps' records say.
 */
#include <algorithm>

#include "hermes_shm/memory/allocator/multi_process/process_block.h"
#include "memory/allocator/multi_process/onlooker.h"

namespace hshm::ipc::multi_process {
namespace {

/** Adds everything up in one pass. Others may work meanwhile: each word is read once, and a count
 * that does not fit its neighbours is clamped. */
template <typename Config>
class Census {
 public:
  Census(const Region& region, const RootTier<Config>& root, AllocatorStats* stats)
      : region_(region), root_(root), pages_(root.pages()), stats_(stats) {
    stats_->classes_.resize(Config::kClassCount);
    rank_live_.resize(stats_->ranks_.size());
    rank_room_.resize(stats_->ranks_.size());
  }

  void Run() {
    const RootHeader& header = root_.header();
    for (uint32_t granule = header.first_granule_; granule < header.granule_end_;) {
      const uint32_t word = Clamped(root_.Head(granule), header.granule_end_ - granule);
      if (HeadWord::KindOf(word) == HeadWord::kUnit) {
        Unit(granule, word);
      } else if (word != 0) {
        Large(granule, word);
      } else {
        Free(root_.granule_bytes());
      }
      granule += word == 0 ? 1 : HeadWord::Granules(word);
    }
    Finish(header);
  }

 private:
  /** A head word that was overwritten ends where the region does. */
  static uint32_t Clamped(uint32_t word, uint32_t most) {
    if (HeadWord::Granules(word) <= most) return word;
    return HeadWord::Make(HeadWord::KindOf(word), HeadWord::SlotPlusOne(word), most);
  }
  RankStats* Rank(uint32_t slot) {
    return slot < stats_->ranks_.size() ? &stats_->ranks_[slot] : nullptr;
  }
  void Live(uint32_t slot, int64_t blocks, uint64_t block_bytes) {
    const int64_t bytes = blocks * static_cast<int64_t>(block_bytes);
    live_blocks_ += blocks;
    live_bytes_ += bytes;
    if (slot < rank_live_.size()) rank_live_[slot] += bytes;
  }
  /** Room in a page of blocks: more when the page is found, less for each block in use. */
  void Room(uint32_t slot, int64_t blocks, uint64_t block_bytes) {
    if (slot < rank_room_.size()) rank_room_[slot] += blocks * static_cast<int64_t>(block_bytes);
  }
  void ClassLive(uint32_t slot, int64_t blocks, uint32_t size_class) {
    Live(slot, blocks, ClassBytes(size_class));
    Room(slot, -blocks, ClassBytes(size_class));
    class_live_[size_class] += blocks;
  }
  void Pending(uint32_t slot, uint32_t size_class, uint64_t blocks) {
    stats_->classes_[size_class].pending_frees_ += blocks;
    if (RankStats* const rank = Rank(slot); rank != nullptr) rank->pending_frees_ += blocks;
  }
  void Free(uint64_t bytes) {
    stretch_bytes_ += bytes;
    stats_->free_bytes_ += bytes;
    stats_->largest_free_bytes_ = std::max(stats_->largest_free_bytes_, stretch_bytes_);
  }
  void GiveUnit(uint32_t word) {
    // Nobody is no rank.
    RankStats* const rank = Rank(HeadWord::Slot(word));
    if (rank != nullptr) rank->unit_bytes_ += HeadWord::Granules(word) * root_.granule_bytes();
  }

  /** Or an extension of one, which nobody has yet; or one that has been freed. */
  void Large(uint32_t granule, uint32_t word) {
    stretch_bytes_ = 0;
    GiveUnit(word);
    if (HeadWord::KindOf(word) != HeadWord::kExtension && !HeadWord::IsFreed(word)) {
      Live(HeadWord::Slot(word), 1, HeadWord::Granules(word) * root_.granule_bytes());
    }
    const uint32_t end = root_.FirstPageOf(granule + HeadWord::Granules(word));
    for (uint32_t page = root_.FirstPageOf(granule); page < end; ++page) Committed(page);
  }

  void Unit(uint32_t granule, uint32_t word) {
    GiveUnit(word);
    RankStats* const rank = Rank(HeadWord::Slot(word));
    uint64_t rank_stretch_bytes = 0;
    const uint32_t end = root_.FirstPageOf(granule + HeadWord::Granules(word));
    for (uint32_t page = root_.FirstPageOf(granule); page < end; ++page) {
      const PageEntry* entry = pages_.Entry(page);
      Committed(page);
      // relaxed: a count only
      stats_->remote_frees_ += RemoteWord::Pushed(entry->remote_.load(std::memory_order_relaxed));
      const HeapId owner = entry->owner_.GetAcquire();
      if (owner == kFreePage) {
        Free(Config::kPageBytes);
        rank_stretch_bytes += Config::kPageBytes;
        if (rank != nullptr) FreeOf(rank, rank_stretch_bytes);
        continue;
      }
      if (rank != nullptr) ++rank->pages_;
      rank_stretch_bytes = 0;
      stretch_bytes_ = 0;
      if (owner != kSpanInterior) Span(page, SlotOf(owner));
    }
  }

  /** One free page more, the last of a stretch. */
  static void FreeOf(RankStats* rank, uint64_t stretch_bytes) {
    rank->free_bytes_ += Config::kPageBytes;
    rank->largest_free_bytes_ = std::max(rank->largest_free_bytes_, stretch_bytes);
  }

  void Span(uint32_t page, uint32_t slot) {
    const PageEntry* entry = pages_.Entry(page);
    const uint32_t shape = entry->shape_.Get();
    const uint64_t span = std::max(entry->span_.Get(), 1u);
    if (PageTable<Config>::HoldsRecords(entry)) Records(page);
    if (KindOf(shape) != kKindClass && KindOf(shape) != kKindRun) return;
    const uint32_t used = PageTable<Config>::Used(entry);
    const uint32_t pending = PageTable<Config>::Pending(entry);  // more, if some came in between
    const int64_t held = used > pending ? used - pending : 0;
    if (KindOf(shape) == kKindRun) {
      Live(slot, std::min<int64_t>(held, 1), span * Config::kPageBytes);
      return;
    }
    const uint32_t size_class = ClassOfShape(shape);
    if (size_class >= Config::kClassCount) return;
    const auto capacity = static_cast<int64_t>(span * Config::kPageBytes / ClassBytes(size_class));
    Room(slot, capacity, ClassBytes(size_class));
    ClassLive(slot, held, size_class);
    Pending(slot, size_class, std::min(pending, used));
    capacity_[size_class] += capacity;
    stats_->classes_[size_class].pages_ += span;
  }

  /** What waits in a heap's class slot counts as used in its page, but is nobody's. */
  void Records(uint32_t page) {
    constexpr uint32_t kPerPage = Config::kPageBytes / sizeof(HeapRecord<Config>);
    auto* records = region_.At<HeapRecord<Config>>(PageTable<Config>::OffsetOf(page));
    for (uint32_t i = 0; i < kPerPage; ++i) {
      const HeapId id = records[i].id_.Get();
      if (id == 0) continue;
      if (RankStats* rank = Rank(SlotOf(id)); rank != nullptr) ++rank->heaps_;
      for (uint32_t c = 0; c < Config::kSlotCount; ++c) {
        pages_.WalkSlot(c, records[i].free_[c].Get(), [&](uint32_t page, Offset) {
          const uint32_t owner =
              SlotOf(pages_.Entry(page)->owner_.Get());  // id's, or a neighbour's
          if (c < Config::kClassCount) {
            ClassLive(owner, -1, c);
          } else {
            Live(owner, -1, Config::SlotBlockBytes(c));
          }
        });
      }
      PendingFrees<Config>::ForEach(records[i],
                                    [&](uint32_t head, uint64_t run) { Waiting(head, run); });
    }
  }

  /** Remote frees that are not posted yet. */
  void Waiting(uint32_t page, uint64_t run) {
    const PageEntry* entry = pages_.Entry(page);
    const uint32_t shape = entry->shape_.Get();
    const uint32_t size_class = ClassOfShape(shape);
    if (KindOf(shape) != kKindClass || size_class >= Config::kClassCount) return;
    const uint32_t blocks = RunWord<Config>::Count(run);
    ClassLive(SlotOf(entry->owner_.Get()), -int64_t{blocks}, size_class);
    Pending(SlotOf(entry->owner_.Get()), size_class, blocks);
    stats_->remote_frees_ += blocks;
  }

  void Committed(uint32_t page) {
    if (pages_.Entry(page)->committed_.Get() != kNotCommitted) {
      stats_->committed_bytes_ += Config::kPageBytes;
    }
  }

  void Finish(const RootHeader& header) {
    const uint64_t granules = header.granule_end_ - header.first_granule_;
    stats_->capacity_bytes_ = granules * root_.granule_bytes();
    stats_->live_bytes_ = static_cast<uint64_t>(std::max<int64_t>(live_bytes_, 0));
    stats_->live_blocks_ = static_cast<uint64_t>(std::max<int64_t>(live_blocks_, 0));
    stats_->remote_frees_ += header.returned_pushes_;
    stats_->peak_bytes_ = header.peak_granules_ * root_.granule_bytes();
    const DeathCounts& deaths = header.deaths_;
    stats_->deaths_ = {deaths.processes_, deaths.heaps_, deaths.adopted_pages_,
                       deaths.adopted_bytes_, deaths.deleted_bytes_};
    stats_->peak_counts_ = "units and large blocks granted";
    for (uint32_t c = 0; c < Config::kClassCount; ++c) {
      SizeClassStats& out = stats_->classes_[c];
      out.block_bytes_ = ClassBytes(c);
      const int64_t live = std::clamp<int64_t>(class_live_[c], 0, capacity_[c]);
      out.live_blocks_ = static_cast<uint64_t>(live);
      out.free_blocks_ = static_cast<uint64_t>(capacity_[c] - live);
      stats_->free_bytes_ += out.free_blocks_ * out.block_bytes_;
    }
    for (size_t slot = 0; slot < rank_live_.size(); ++slot) {
      stats_->ranks_[slot].live_bytes_ =
          static_cast<uint64_t>(std::max<int64_t>(rank_live_[slot], 0));
      stats_->ranks_[slot].free_bytes_ +=
          static_cast<uint64_t>(std::max<int64_t>(rank_room_[slot], 0));
    }
  }

  const Region& region_;
  const RootTier<Config>& root_;
  const PageTable<Config>& pages_;
  AllocatorStats* stats_;
  uint64_t stretch_bytes_ = 0;  // free without a gap up to here
  int64_t live_bytes_ = 0;
  int64_t live_blocks_ = 0;
  int64_t class_live_[Config::kClassCount] = {};
  int64_t capacity_[Config::kClassCount] = {};
  std::vector<int64_t> rank_live_;  // by slot
  std::vector<int64_t> rank_room_;  // by slot: in pages of size classes
};

}  // namespace

template <typename Config>
bool ProcessBlock<Config>::AddStats(AllocatorStats* stats) {
  Census<Config> census(region_, root_, stats);
  const std::lock_guard hold(lock_);
  typename RootTier<Config>::Guard root(root_);
  if (!root.IsHeld()) return false;
  census.Run();
  return true;
}

template <typename Config>
void CountInCopy(const Region& copy, Offset core, AllocatorStats* stats) {
  const RootTier<Config> root(copy, core, nullptr);
  Census<Config>(copy, root, stats).Run();
}

template void CountInCopy<LargePages>(const Region& copy, Offset core, AllocatorStats* stats);
template void CountInCopy<SmallPages>(const Region& copy, Offset core, AllocatorStats* stats);
template void CountInCopy<CheckedLargePages>(const Region& copy, Offset core,
                                             AllocatorStats* stats);
template void CountInCopy<CheckedSmallPages>(const Region& copy, Offset core,
                                             AllocatorStats* stats);
template bool ProcessBlock<LargePages>::AddStats(AllocatorStats* stats);
template bool ProcessBlock<SmallPages>::AddStats(AllocatorStats* stats);
template bool ProcessBlock<CheckedLargePages>::AddStats(AllocatorStats* stats);
template bool ProcessBlock<CheckedSmallPages>::AddStats(AllocatorStats* stats);

}  // namespace hshm::ipc::multi_process
