/** What the policy Checked does to pages and lists beside the rest; see BlockMarks. */
#include <algorithm>

#include "hermes_shm/memory/allocator/multi_process/page_table.h"

namespace hshm::ipc::multi_process {

template <typename Config>
void PageTable<Config>::StopUnlessFree(Offset block) const {
  if constexpr (Config::kChecked) {
    const uint32_t shape = Entry(HeadOf(PageOf(block)))->shape_.Get();
    if (marks_.Get(block) != MarkOf(shape)) StopForListed(block);
  }
}

template <typename Config>
void PageTable<Config>::StopForListed(Offset block) const noexcept {
  if (IsMarkedLive(block)) defect::OverlappingBlock("Allocate", block);
  defect::Corruption("the link of a free block", block);
}

/** No list names them any more. Marks are only where blocks of the page's kind can begin, in pages
 * that have their memory; of a page that is deleted the kind is not known any more. */
template <typename Config>
void PageTable<Config>::ClearMarks(uint32_t head) const {
  if constexpr (Config::kChecked) {
    const PageEntry* entry = Entry(head);
    const Offset begin = OffsetOf(head);
    const uint64_t span_bytes = std::max(entry->span_.Get(), 1u) * Config::kPageBytes;
    switch (KindOf(entry->shape_.Get())) {
      case kKindRun:
        return marks_.Set(begin, 0);
      case kKindClass: {
        const uint64_t bytes = BlockBytes(head);
        for (Offset block = begin; block + bytes <= begin + span_bytes; block += bytes) {
          if (EntryOf(block)->committed_.Get() != 0) marks_.Set(block, 0);
        }
        return;
      }
      default:
        for (Offset page = begin; page < begin + span_bytes; page += Config::kPageBytes) {
          if (EntryOf(page)->committed_.Get() != 0) marks_.Clear(page, Config::kPageBytes);
        }
    }
  }
}

/** Before the words of a page are emptied, all of whose blocks are free. */
template <typename Config>
void PageTable<Config>::NoteFormerBlocks(uint32_t head) const {
  if constexpr (Config::kChecked) {
    PageEntry* entry = Entry(head);
    const uint32_t shape = entry->shape_.Get();
    if (KindOf(shape) == kKindNone) return;  // deleted, or noted by Discard
    const uint32_t carved = entry->carved_.Get();
    // Blocks begin in each page of a class, but in the first of a run only.
    const uint32_t pages = KindOf(shape) == kKindClass ? entry->span_.Get() : 1;
    for (uint32_t i = 0; i < pages; ++i) {
      Entry(head + i)->former_.Set(FormerBlocks::Make(shape, carved, i));
    }
  }
}

/** Whether a block that was handed out once begins there, in a page in use or in a free one. */
template <typename Config>
bool PageTable<Config>::WasBlock(const PageEntry* entry, Offset block) const {
  const auto page = static_cast<uint32_t>(entry - table_);
  const uint64_t former = entry->former_.Get();
  const bool is_free = entry->owner_.Get() == kFreePage;
  const uint32_t head = is_free ? page - FormerBlocks::Back(former) : HeadOf(page);
  const uint32_t shape = is_free ? FormerBlocks::Shape(former) : Entry(head)->shape_.Get();
  const uint32_t carved = is_free ? FormerBlocks::Carved(former) : Entry(head)->carved_.Get();
  const uint64_t place = block - OffsetOf(head);
  if (KindOf(shape) == kKindRun) return place == 0;
  if (KindOf(shape) != kKindClass) return false;
  const uint64_t bytes = ClassBytes(ClassOfShape(shape));
  const uint32_t pages = Config::PagesOf(bytes);
  const auto capacity = static_cast<uint32_t>(pages * Config::kPageBytes / bytes);
  return place % bytes == 0 && OrderOf(head, pages, capacity).IsAmong(carved, place / bytes);
}

template <typename Config>
void PageTable<Config>::NoteFormerLarge(uint32_t page) const {
  if constexpr (Config::kChecked) {
    Entry(page)->former_.Set(FormerBlocks::Make(MakeShape(kKindRun), 1, 0));
  }
}

template <typename Config>
void PageTable<Config>::StopForBlock(const char* operation, Offset block) const noexcept {
  if (WasBlock(EntryOf(block), block)) defect::DoubleFree(operation, block);
  defect::InvalidFree(operation, block);
}

template class PageTable<LargePages>;
template class PageTable<SmallPages>;
template class PageTable<CheckedLargePages>;
template class PageTable<CheckedSmallPages>;

}  // namespace hshm::ipc::multi_process
