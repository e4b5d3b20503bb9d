/** Large blocks, which are the root's: allocated, freed, made longer and shorter. */
#include <algorithm>

#include "hermes_shm/memory/allocator/multi_process/process_block.h"

namespace hshm::ipc::multi_process {

template <typename Config>
Offset ProcessBlock<Config>::AllocateLarge(uint64_t size_bytes, uint64_t alignment,
                                           bool* is_zero) noexcept {
  const uint64_t granule = root_.granule_bytes();
  const uint64_t granules = bits::DivideUp(size_bytes, granule);
  if (granules > kMaxGranules) return 0;
  const auto aligned = static_cast<uint32_t>(std::max<uint64_t>(alignment / granule, 1));
  uint32_t first = RootTier<Config>::kNone;
  {
    typename RootTier<Config>::Guard root(root_);
    if (!root.IsHeld()) return 0;
    first = root_.Grant(HeadWord::kLarge, static_cast<uint32_t>(granules), aligned);
  }
  if (first == RootTier<Config>::kNone) return 0;
  // Outside of the lock: the system takes a quarter of a second per GiB.
  const uint32_t page = root_.FirstPageOf(first);
  const Offset block = PageTable<Config>::OffsetOf(page);
  const uint32_t pages = static_cast<uint32_t>(granules) * root_.granule_pages();
  if (root_.CommitLarge(page, pages, is_zero)) return block;
  FreeLarge(block);
  return 0;
}

template <typename Config>
bool ProcessBlock<Config>::IsLargeBlock(uint32_t granule, Offset block) const noexcept {
  const uint32_t word = root_.Head(granule);
  return HeadWord::KindOf(word) == HeadWord::kLarge && !HeadWord::IsFreed(word) &&
         block == PageTable<Config>::OffsetOf(root_.FirstPageOf(granule));
}

/** Only what no large block covers may have been a block of a page before. */
template <typename Config>
void ProcessBlock<Config>::StopForLarge(const char* operation, Offset block) const noexcept {
  const uint32_t page = PageTable<Config>::PageOf(block);
  if (HeadWord::IsFreed(root_.Head(root_.GranuleOf(page)))) defect::DoubleFree(operation, block);
  if (Config::kChecked && !root_.IsInLargeBlock(page)) {
    pages().StopForBlock(operation, block);
  }
  defect::InvalidFree(operation, block);
}

/** Left to the next holder of the root mutex by a forked child that got no slot, or when its holder
 * is stopped: the head word is the caller's as long as the block is. */
template <typename Config>
void ProcessBlock<Config>::FreeLarge(Offset block) noexcept {
  const uint32_t granule = root_.GranuleOf(PageTable<Config>::PageOf(block));
  if (membership_->IsMember()) {
    typename RootTier<Config>::Guard root(root_);
    if (root.IsHeld()) {
      if (!IsLargeBlock(granule, block)) StopForLarge("Free", block);
      pages().NoteFormerLarge(PageTable<Config>::PageOf(block));
      root_.GiveBack(granule);
      return;
    }
  }
  if (!IsLargeBlock(granule, block) || !root_.LeaveFreed(granule)) StopForLarge("Free", block);
}

template <typename Config>
bool ProcessBlock<Config>::ResizeLarge(Offset block, uint64_t new_bytes) noexcept {
  const uint64_t granules = bits::DivideUp(new_bytes, root_.granule_bytes());
  if (new_bytes <= process_unit_bytes() || granules > kMaxGranules) return false;
  const uint32_t granule = root_.GranuleOf(PageTable<Config>::PageOf(block));
  const auto resized = static_cast<uint32_t>(granules);
  uint32_t present = 0;
  {
    typename RootTier<Config>::Guard root(root_);
    if (!root.IsHeld()) return false;
    if (!IsLargeBlock(granule, block)) StopForLarge("Reallocate", block);
    present = HeadWord::Granules(root_.Head(granule));
    if (resized <= present) {
      root_.ShortenLarge(granule, resized);
      return true;
    }
    if (!root_.GrantExtension(granule, resized - present)) return false;
  }
  return FillExtension(block, granule + present, resized - present);
}

/** The memory outside of the lock, as of any large block; then only the block is longer: nobody is
 * told of bytes that are not there. */
template <typename Config>
bool ProcessBlock<Config>::FillExtension(Offset block, uint32_t first, uint32_t more) noexcept {
  bool is_zero = false;  // realloc promises nothing
  const bool is_there =
      root_.CommitLarge(root_.FirstPageOf(first), more * root_.granule_pages(), &is_zero);
  typename RootTier<Config>::Guard root(root_);
  if (!root.IsHeld()) {  // a stopped holder
    root_.LeaveFreed(first);
    return false;
  }
  if (!is_there) {
    root_.GiveBack(first);
    return false;
  }
  const uint32_t granule = root_.GranuleOf(PageTable<Config>::PageOf(block));
  if (!IsLargeBlock(granule, block)) StopForLarge("Reallocate", block);
  root_.JoinExtension(granule);
  return true;
}

template class ProcessBlock<LargePages>;
template class ProcessBlock<SmallPages>;
template class ProcessBlock<CheckedLargePages>;
template class ProcessBlock<CheckedSmallPages>;

}  // namespace hshm::ipc::multi_process
