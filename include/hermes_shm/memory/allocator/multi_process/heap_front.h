#ifndef HSHM_MEMORY_ALLOCATOR_MULTI_PROCESS_HEAP_FRONT_H_
#define HSHM_MEMORY_ALLOCATOR_MULTI_PROCESS_HEAP_FRONT_H_

#include "hermes_shm/memory/allocator/multi_process/page_table.h"

namespace hshm::ipc::multi_process {

/**
 * The front of a thread's heap: what the two paths that count read, on one cache line, and the
 * paths themselves. What is rare is somebody else's: TryAllocate and TryFree say so.
 *
 * A front on its own, as Nobody is, has no block and owns none, so a thread without a heap needs no
 * test of its own: its calls end where what is rare ends. bench/run counts what the paths cost.
 */
template <typename Config>
class HSHM_API HeapFront {
 public:
  constexpr HeapFront() = default;
  HeapFront(const HeapFront&) = delete;
  HeapFront& operator=(const HeapFront&) = delete;

  /** Serves threads that have no heap: nothing is to be had, and nothing is its own. */
  static constexpr HeapFront* Nobody() noexcept { return &nobody_; }

  /** A block of a size that has a class slot, when that lists one; null: not so. */
  HSHM_INLINE PlacedBlock TryPlace(uint64_t size_bytes) noexcept {
    // Of objects, and wherever else the compiler knows the size, it knows the class.
    if (__builtin_constant_p(size_bytes) && size_bytes <= Config::kMaxClassBytes) {
      return Pop(ClassOf(size_bytes));
    }
    if (HSHM_LIKELY(size_bytes <= kTableBytes)) {
      const size_t size_class = class_of_[(size_bytes + 15) / 16];  // wide: an index as it is
      return Pop(size_class);
    }
    if (HSHM_LIKELY(size_bytes <= Config::kMaxClassBytes)) return Pop(LargeClassOf(size_bytes));
    if (size_bytes > Config::kMaxSlotRunPages * Config::kPageBytes) return {};
    return PopRun(static_cast<uint32_t>((size_bytes - 1) >> Config::kPageShift) + 1);
  }

  /** For who forms the address himself: one instruction less than by TryPlace where that is all. */
  HSHM_INLINE Offset TryAllocate(uint64_t size_bytes) noexcept {
    return TryPlace(size_bytes).offset_;
  }

  /** When TryAllocate has said no: the blocks that were freed meanwhile in the page that the class
   * has in hand become the class's, and one of them the caller's; 0: they are too few. By stores of
   * this thread alone: a page in hand is never taken. */
  HSHM_NOINLINE Offset TryRefill(uint64_t size_bytes) noexcept {
    return size_bytes <= Config::kMaxClassBytes ? RefillFromHand(ClassOf(size_bytes)) : 0;
  }

  enum class Freed {
    kDone,
    kPageWaits,  // it is free; ThreadHeap::FinishFree(block) must follow, for its page or list
    kOthers,     // nothing happened: not of this heap, which is a thread's; null, too
    kNot,        // nothing happened: behind all blocks, or there is no heap
  };

  /** Free of a block of this heap, by stores of this thread alone. */
  HSHM_INLINE Freed TryFree(Offset block) noexcept { return TryFree(pages_, block); }
  /** The same with the heap's table of pages as the caller has it, who may know it sooner. */
  HSHM_INLINE Freed TryFree(const PageTable<Config>& pages, Offset block) noexcept {
    return TryFree(block, pages.EntryOf(block), pages.region().AddressOf(block));
  }

  /** The same by address. What lies without the region is nobody's, and null is none of it. */
  HSHM_INLINE Freed TryFreeAddress(void* address) noexcept {
    const Offset block = OffsetOf(address);
    return TryFree(block, pages_.EntryOf(block), address);
  }

  HSHM_INLINE char* AddressOf(Offset block) const noexcept {
    return pages_.region().AddressOf(block);
  }
  HSHM_INLINE Offset OffsetOf(const void* address) const noexcept {
    return pages_.region().OffsetOf(address);
  }

 protected:
  HSHM_INLINE PlacedBlock Pop(size_t size_class) noexcept {
    const Offset block = record_->free_[size_class].Get();
    if (HSHM_UNLIKELY(block == 0)) return {};
    pages_.CheckFree(block, static_cast<uint32_t>(size_class));
    char* const address = KnownAddressOf(block);
    const Offset next = pages_.Link(block);
    if constexpr (Config::kChecked) CheckLink(block, next);
    record_->free_[size_class].Set(next);
    pages_.Give(block);
    // Below the mixed slots nobody asks; but a branch at run time costs more than it saves.
    if (!__builtin_constant_p(size_class) || size_class >= Config::kFirstMixedSlot) {
      ++room_[size_class];
    }
    return {block, address};
  }
  /** The same of runs of so many pages, at most kMaxSlotRunPages. */
  HSHM_INLINE PlacedBlock PopRun(uint32_t pages) noexcept {
    const uint32_t number = Config::kFirstRunSlot + pages - 1;
    OwnedWord<uint64_t>& slot = record_->free_[number];
    const Offset block = slot.Get();
    if (block == 0) return {};
    pages_.CheckFreeRun(block);
    char* const address = KnownAddressOf(block);
    const Offset next = pages_.Link(block);
    if constexpr (Config::kChecked) CheckLink(block, next);
    slot.Set(next);
    pages_.GiveRun(block);
    pages_.EntryOf(block)->key_.Set(FreeKey::Make(id_, number));
    ++room_[number];
    return {block, address};
  }
  /** Of a block: not null, so that nobody asks again. */
  HSHM_INLINE char* KnownAddressOf(Offset block) const noexcept {
    char* const address = AddressOf(block);
    if (address == nullptr) __builtin_unreachable();
    return address;
  }
  /** So that whoever comes to the next block may look at its mark, which says the rest. */
  HSHM_INLINE void CheckLink(Offset block, Offset next) const noexcept {
    if (HSHM_UNLIKELY(next % 16 != 0 || next >= data_end_)) {
      defect::Corruption("the link of a free block", block);
    }
  }
  HSHM_INLINE Offset RefillFromHand(uint32_t size_class) noexcept {
    PageEntry* entry = in_hand_[size_class];
    if (entry == nullptr || record_->free_[size_class].Get() != 0) return 0;
    if (entry->carved_.Get() + 1 - entry->used_.Get() < kWorthRefilling) return 0;
    TakeLocal(entry, size_class);
    return Pop(size_class).offset_;
  }
  /** Of a page in hand: what its list has becomes the class slot's, which is empty; of a mixed one,
   * not more than that may list, or a few, for the page is kept from others as it is. */
  HSHM_INLINE void TakeLocal(PageEntry* entry, uint32_t size_class) noexcept {
    if (size_class >= Config::kFirstMixedSlot) {
      const uint32_t listed = entry->carved_.Get() + 1 - entry->used_.Get();
      const auto room = static_cast<int32_t>(room_[size_class]);
      if (static_cast<int32_t>(listed) > room) {
        const auto half = static_cast<uint32_t>(room < 0 ? 0 : room / 2);
        const uint32_t most = half < kWorthRefilling ? kWorthRefilling : half;
        room_[size_class] -= pages_.TakeSomeLocal(entry, &record_->free_[size_class], most);
        return;
      }
      room_[size_class] -= listed;
    }
    pages_.TakeLocal(entry, &record_->free_[size_class]);
  }
  HSHM_INLINE Freed TryFree(Offset block, PageEntry* entry, void* address) noexcept {
    // What lies before the data has no owner; what lies behind it, no entry.
    if (HSHM_UNLIKELY(block >= data_end_)) return Freed::kNot;
    const uint64_t key = entry->key_.Get();
    if (HSHM_LIKELY(key == page_key_)) return FreeToPage(entry, block, address);
    // In Checked the marks of a page are written by its owner.
    const bool is_listed_here =
        FreeKey::IsMixedOf(key, process_key_) && (!Config::kChecked || FreeKey::Id(key) == id_);
    if (HSHM_LIKELY(is_listed_here)) return FreeToClass(entry, FreeKey::Slot(key), block, address);
    return FreeKey::Id(key) == id_ ? FreeRun(entry, FreeKey::Slot(key), block) : Freed::kOthers;
  }
  HSHM_INLINE Freed FreeToPage(PageEntry* entry, Offset block, void* address) noexcept {
    pages_.Return(block);
    const Offset local = entry->local_.Get();
    if (HSHM_UNLIKELY(local == 0)) return FreeToEmptyPage(entry, block);
    static_cast<Atomic<uint64_t>*>(address)->store(
        local, std::memory_order_relaxed);  // relaxed: private until published
    entry->local_.Set(block);
    if (HSHM_LIKELY(!entry->used_.LowerRelease())) return Freed::kDone;
    asm("");  // the outcome is known here, and need not be computed on the other paths
    return Freed::kPageWaits;
  }
  /** What the slot has no room for goes home if its page is no span. Of longer blocks the slot
   * keeps those that were freed last, which are the ones in the cache. */
  HSHM_INLINE Freed FreeToClass(PageEntry* entry, uint32_t slot, Offset block,
                                void* address) noexcept {
    if (HSHM_UNLIKELY(static_cast<int32_t>(--room_[slot]) < 0)) {
      return FreeToFullClass(entry, slot, block, address);
    }
    pages_.Return(block);
    ListFreed(slot, block, address);
    return Freed::kDone;
  }
  HSHM_INLINE Freed FreeToFullClass(PageEntry* entry, uint32_t slot, Offset block,
                                    void* address) noexcept {
    asm("" : "+r"(entry) : : "memory");  // nothing is kept for this on the path of other frees
    const bool is_own = FreeKey::Id(entry->key_.Get()) == id_;
    if (is_own && slot >= Config::kFirstWideSlot) {
      pages_.Return(block);
      ListFreed(slot, block, address);
      return Freed::kPageWaits;
    }
    ++room_[slot];
    return is_own ? FreeToPage(entry, block, address) : Freed::kOthers;
  }
  HSHM_INLINE void ListFreed(uint32_t slot, Offset block, void* address) noexcept {
    OwnedWord<uint64_t>& list = record_->free_[slot];
    static_cast<Atomic<uint64_t>*>(address)->store(
        list.Get(), std::memory_order_relaxed);  // relaxed: private until published
    list.Set(block);
  }
  /** A run of this heap. */
  HSHM_INLINE Freed FreeRun(PageEntry* entry, uint32_t slot, Offset block) noexcept {
    asm("" : "+r"(entry));  // no address is formed for this on the path of all other frees
    pages_.Return(block);
    entry->key_.Set(0);  // so that a second free is found
    ListFreed(slot, block, AddressOf(block));
    if (HSHM_LIKELY(static_cast<int32_t>(--room_[slot]) >= 0)) return Freed::kDone;
    asm("");  // the outcome is known here, and need not be computed on the other paths
    return Freed::kPageWaits;
  }
  /** The page's list is empty. */
  HSHM_INLINE Freed FreeToEmptyPage(PageEntry* entry, Offset block) noexcept {
    asm("" : "+r"(entry));  // no address is formed for this on the path of all other frees
    pages_.SetLink(block, 0);
    entry->local_.Set(block);
    entry->used_.LowerRelease();
    return (entry->shape_.Get() & kInHand) != 0 ? Freed::kDone : Freed::kPageWaits;
  }

  alignas(kCacheLineBytes) PageTable<Config> pages_;
  HeapRecord<Config>* record_ = &no_record_;
  Offset data_end_ = 0;
  uint64_t page_key_ = FreeKey::Make(kFreePage);  // of its pages whose blocks go to no mixed slot
  HeapId id_ = kFreePage;                         // the same: no word is kept for the rarer test
  uint64_t process_key_ = 0;                      // FreeKey::OfProcess
  /** Of each class the page in hand: below the mixed slots its list has blocks of that page. */
  PageEntry* in_hand_[Config::kClassCount] = {};
  /** Of each mixed slot the blocks that its list may get, which is seldom negative; of the others
   * nothing. Unsigned, for it may wrap. */
  uint32_t room_[Config::kSlotCount] = {};

 private:
  /** With fewer blocks the pages of the class are asked in turn: one may have gathered more. */
  static constexpr uint32_t kWorthRefilling = 8;

  ClassTable class_of_ = kClassTable;  // near the rest: one address less to form

  static HeapRecord<Config> no_record_;  // zero for ever
  static HeapFront nobody_;
};

extern template class HeapFront<LargePages>;
extern template class HeapFront<SmallPages>;
extern template class HeapFront<CheckedLargePages>;
extern template class HeapFront<CheckedSmallPages>;

}  // namespace hshm::ipc::multi_process

#endif  // HSHM_MEMORY_ALLOCATOR_MULTI_PROCESS_HEAP_FRONT_H_
