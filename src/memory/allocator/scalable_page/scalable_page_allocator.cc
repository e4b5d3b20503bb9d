#include "hermes_shm/memory/allocator/scalable_page_allocator.h"

#include <algorithm>
#include <cstring>
#include <string>

#include "hermes_shm/base/error.h"

namespace hshm::ipc {

using multi_process::ClassBytes;
using multi_process::FastClassOf;
using multi_process::KindOf;
using multi_process::kKindClass;
using multi_process::kKindRun;
using multi_process::kNoPage;
using multi_process::MakeShape;

// ---- set-up
// --------------------------------------------------------------------------------------

template <typename Config>
MemContext BasicScalablePageAllocator<Config>::Open(
    scalable_page::ScalableHeader<Config>* header) noexcept {
  pool_ = scalable_page::PagePool<Config>(this->region_, header, &this->membership_, &patience_);
  blocks_ = scalable_page::ClassBlocks<Config>(&pool_);
  is_open_ = true;
  return CreateTls(MemContext());
}

template <typename Config>
MemContext BasicScalablePageAllocator<Config>::Init(Offset core) {
  return Open(scalable_page::PagePool<Config>::Init(this->region_, core));
}

template <typename Config>
MemContext BasicScalablePageAllocator<Config>::Attach(Offset core) {
  auto* header = this->region_.template At<scalable_page::ScalableHeader<Config>>(core);
  if (header->layout_version_ != scalable_page::kScalablePageLayoutVersion) {
    throw Error(ErrorCode::kVersionMismatch,
                "The ScalablePageAllocator in the region has layout " +
                    std::to_string(header->layout_version_) + ", this library knows layout " +
                    std::to_string(scalable_page::kScalablePageLayoutVersion) +
                    ": run all processes with the same release of hshm.");
  }
  if (!scalable_page::PagePool<Config>::Fits(this->region_, core)) {
    throw Error(ErrorCode::kCorrupt, "The ScalablePageAllocator's header at offset " +
                                         std::to_string(core) +
                                         " does not fit its region: it was overwritten. Make the "
                                         "region anew.");
  }
  return Open(header);
}

template <typename Config>
MemContext BasicScalablePageAllocator<Config>::CreateTls(const MemContext& ctx) noexcept {
  Require("CreateTls");
  if (ctx.IsValid() && !ctx.IsArena()) return ctx;
  const auto& me = this->membership_;
  return MemContext(me.IsMember() ? me.slot() : MemContext::kNone, 0);
}

template <typename Config>
void BasicScalablePageAllocator<Config>::FreeTls(
    const MemContext& /*there is nothing to free*/) noexcept {
  Require("FreeTls");
}

// ---- allocate
// ------------------------------------------------------------------------------------

template <typename Config>
Offset BasicScalablePageAllocator<Config>::AllocateClass(uint32_t size_class) noexcept {
  Offset block = blocks_.Allocate(size_class);
  if (HSHM_LIKELY(block != 0)) return block;
  blocks_.ReleaseSpares();
  block = blocks_.Allocate(size_class);
  if (block != 0 || blocks_.PagesOf(size_class) == 1) return block;
  // A wide page's run is not to be had: a large block may still get pages of its own.
  const uint64_t pages = bits::DivideUp(ClassBytes(size_class), Config::kPageBytes);
  return OpenRun(static_cast<uint32_t>(pages), 1);
}

template <typename Config>
Offset BasicScalablePageAllocator<Config>::AllocateRun(uint64_t size, uint64_t alignment) noexcept {
  const uint64_t pages = bits::DivideUp(size, Config::kPageBytes);
  const uint64_t boundary = std::max<uint64_t>(alignment / Config::kPageBytes, 1);
  if (pages > pool_.page_count() || boundary > pool_.page_count()) return 0;
  const auto count = static_cast<uint32_t>(pages);
  const Offset block = OpenRun(count, static_cast<uint32_t>(boundary));
  if (block != 0) return block;
  blocks_.ReleaseSpares();
  return OpenRun(count, static_cast<uint32_t>(boundary));
}

template <typename Config>
Offset BasicScalablePageAllocator<Config>::OpenRun(uint32_t pages, uint32_t alignment) noexcept {
  const uint32_t head = pool_.Open(pages, alignment, MakeShape(kKindRun));
  if (head == kNoPage) return 0;
  const Offset block = multi_process::PageTable<Config>::OffsetOf(head);
  // Outside of the lock: the system takes a quarter of a second per GiB.
  if (pool_.Commit(head, pages)) return block;
  pool_.CloseRun(block);
  return 0;
}

template <typename Config>
OffsetPtr<> BasicScalablePageAllocator<Config>::AllocateBlock(size_t size,
                                                              size_t alignment) noexcept {
  Require("AllocateOffset");
  if (HSHM_UNLIKELY(!bits::IsPowerOfTwo(alignment))) {
    defect::BadAlignment("AlignedAllocateOffset", alignment);
  }
  const uint64_t region_bytes = this->region_.size_bytes_;
  if (HSHM_UNLIKELY(size > region_bytes || alignment > region_bytes)) return OffsetPtr<>();
  const uint64_t least = std::max<uint64_t>(size, 1);
  // A size that is a multiple of a power of two has a class that is one, too.
  const uint64_t rounded = bits::AlignUp(least, alignment);
  if (HSHM_LIKELY(rounded <= Config::kMaxClassBytes)) {
    return OffsetPtr<>(AllocateClass(FastClassOf(rounded)));
  }
  return OffsetPtr<>(AllocateRun(least, alignment));
}

// ---- blocks that are there
// ------------------------------------------------------------------------

template <typename Config>
void BasicScalablePageAllocator<Config>::FreeBlock(OffsetPtr<> offset) noexcept {
  Require("FreeOffset");
  const Offset block = offset.load();
  const uint32_t head = pool_.HeadAt("FreeOffset", block);
  if (KindOf(pool_.pages().Entry(head)->shape_.Get()) == kKindClass) {
    blocks_.Free(head, block);
  } else {
    pool_.CloseRun(block);
  }
}

template <typename Config>
uint64_t BasicScalablePageAllocator<Config>::BytesAt(const char* operation, uint32_t head,
                                                     Offset block) noexcept {
  const auto& pages = pool_.pages();
  if (KindOf(pages.Entry(head)->shape_.Get()) == kKindClass) {
    return blocks_.BytesAt(operation, head, block);
  }
  if (block != pages.OffsetOf(head)) defect::InvalidFree(operation, block);
  return pages.BlockBytes(head);
}

template <typename Config>
bool BasicScalablePageAllocator<Config>::ResizeBlock(OffsetPtr<> offset, size_t size) noexcept {
  Require("ResizeInPlace");
  const Offset block = offset.load();
  const uint32_t head = pool_.HeadAt("ResizeInPlace", block);
  return Resize(head, BytesAt("ResizeInPlace", head, block), size);
}

template <typename Config>
size_t BasicScalablePageAllocator<Config>::GetUsableBytes(OffsetPtr<> offset) noexcept {
  Require("GetUsableSize");
  const Offset block = offset.load();
  return BytesAt("GetUsableSize", pool_.HeadAt("GetUsableSize", block), block);
}

template <typename Config>
bool BasicScalablePageAllocator<Config>::Resize(uint32_t head, uint64_t usable,
                                                uint64_t new_bytes) noexcept {
  if (KindOf(pool_.pages().Entry(head)->shape_.Get()) == kKindClass) {
    return new_bytes <= usable && new_bytes >= usable / 2;
  }
  if (new_bytes <= Config::kMaxClassBytes) return false;  // a class block is enough
  const uint64_t pages = bits::DivideUp(new_bytes, Config::kPageBytes);
  if (pages * Config::kPageBytes == usable) return true;
  return pages <= pool_.page_count() && pool_.ResizeRun(head, static_cast<uint32_t>(pages));
}

template <typename Config>
OffsetPtr<> BasicScalablePageAllocator<Config>::ReallocateBlock(OffsetPtr<> offset,
                                                                size_t size) noexcept {
  Require("ReallocateOffset");
  const Offset block = offset.load();
  const uint32_t head = pool_.HeadAt("ReallocateOffset", block);
  const uint64_t usable = BytesAt("ReallocateOffset", head, block);
  if (Resize(head, usable, size)) return offset;
  const OffsetPtr<> moved = AllocateBlock(size, kDefaultAlignment);
  if (moved.IsNull()) return size <= usable ? offset : moved;  // shrinking needs no room
  std::memcpy(this->region_.base_ + moved.load(), this->region_.base_ + block,
              std::min<uint64_t>(usable, size));
  FreeBlock(offset);
  return moved;
}

// ---- everything
// ----------------------------------------------------------------------------------

template <typename Config>
size_t BasicScalablePageAllocator<Config>::GetCurrentlyAllocatedSize() noexcept {
  Require("GetCurrentlyAllocatedSize");
  const scalable_page::ScalableHeader<Config>& header = pool_.header();
  // relaxed, all: figures that are exact while nobody works
  uint64_t bytes = header.run_pages_.load(std::memory_order_relaxed) * Config::kPageBytes;
  for (uint32_t c = 0; c < Config::kClassCount; ++c) {
    bytes += header.classes_[c].live_blocks_.load(std::memory_order_relaxed) * ClassBytes(c);
  }
  return bytes;
}

template <typename Config>
void BasicScalablePageAllocator<Config>::AddStats(AllocatorStats* stats) {
  stats->classes_.resize(Config::kClassCount);
  typename scalable_page::PagePool<Config>::Guard guard(pool_);
  stats->is_complete_ = guard.IsHeld();
  if (!guard.IsHeld()) return;
  const scalable_page::ScalableHeader<Config>& header = pool_.header();
  const uint32_t frontier = pool_.Frontier();
  uint64_t stretch = 0;  // free pages up to here
  uint64_t largest = 0;
  for (uint32_t page = header.first_page_; page < frontier; ++page) {
    const multi_process::PageEntry* entry = pool_.pages().Entry(page);
    if (entry->committed_.Get() != 0) stats->committed_bytes_ += Config::kPageBytes;
    if (entry->owner_.Get() == multi_process::kFreePage) {
      stats->free_bytes_ += Config::kPageBytes;
      largest = std::max(largest, ++stretch);
      continue;
    }
    stretch = 0;
    const uint32_t shape = entry->shape_.Get();
    if (entry->owner_.Get() == multi_process::kSpanInterior) continue;
    if (KindOf(shape) == kKindRun) ++stats->live_blocks_;
    if (KindOf(shape) != kKindClass) continue;
    SizeClassStats& one = stats->classes_[multi_process::ClassOfShape(shape)];
    one.pages_ += entry->span_.Get();
    one.free_blocks_ += pool_.pages().Capacity(page);
  }
  for (uint32_t c = 0; c < Config::kClassCount; ++c) {
    SizeClassStats& one = stats->classes_[c];
    one.block_bytes_ = ClassBytes(c);
    // relaxed: a figure; the class's lock is not held, so it may be ahead of its pages
    const uint64_t live = header.classes_[c].live_blocks_.load(std::memory_order_relaxed);
    one.live_blocks_ = std::min(live, one.free_blocks_);
    one.free_blocks_ -= one.live_blocks_;
    stats->live_blocks_ += one.live_blocks_;
    stats->free_bytes_ += one.free_blocks_ * one.block_bytes_;
  }
  const uint64_t unused = header.page_count_ - frontier;
  const uint64_t pages = header.page_count_ - header.first_page_;
  stats->capacity_bytes_ = pages * Config::kPageBytes;
  stats->live_bytes_ = GetCurrentlyAllocatedSize();
  stats->peak_bytes_ = (frontier - header.first_page_) * Config::kPageBytes;
  stats->peak_counts_ = "memory ever used";
  stats->free_bytes_ += unused * Config::kPageBytes;
  stats->largest_free_bytes_ = std::max(largest, stretch + unused) * Config::kPageBytes;
}

template <typename Config>
void BasicScalablePageAllocator<Config>::Trim() noexcept {
  Require("Trim");
  blocks_.ReleaseSpares();
  pool_.Trim();
}

template class BasicScalablePageAllocator<multi_process::LargePages>;
template class BasicScalablePageAllocator<multi_process::SmallPages>;

}  // namespace hshm::ipc
