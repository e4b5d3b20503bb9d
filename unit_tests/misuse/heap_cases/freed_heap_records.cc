/** The page in which the heaps themselves stand. */
#include "misuse/heap.h"

namespace hshm::misuse {

HSHM_MISUSE(freed_heap_records, "InvalidFree: Free") {
  using namespace ipc::multi_process;
  Heap heap;
  heap.Allocate(100);
  const auto& region = heap->GetRegion();
  const Offset allocator = ipc::AllocatorOffsetFor(kRegionBytes);
  const auto* root =
      region.At<RootHeader>(region.At<ipc::AllocatorHeader>(allocator)->core_offset_);
  const PageTable<LargePages> pages(region, root->table_offset_);
  uint32_t page = root->first_page_;
  while (KindOf(pages.Entry(page)->shape_.Get()) != kKindHeaps) ++page;
  AtTheCall();
  heap.Free(page * kPageBytes);
}

}  // namespace hshm::misuse
