#ifndef HSHM_UNIT_TESTS_MULTI_PROCESS_BARE_PAGES_H_
#define HSHM_UNIT_TESTS_MULTI_PROCESS_BARE_PAGES_H_

#include <vector>

#include "hermes_shm/memory/allocator/multi_process/page_table.h"
#include "hermes_shm/memory/backend/malloc_backend.h"
#include "support/catch.h"

namespace hshm::ipc::multi_process {

/** A page table and its pages at the start of a region, without any allocator. */
class Pages {
 public:
  using Config = SmallPages;
  static constexpr uint32_t kCount = 64;
  static constexpr uint32_t kFirst = 16;  // those before it hold the headers and the table
  static constexpr Offset kTable = 8 * Config::kPageBytes;

  Pages() {
    backend_.shm_init(MemoryBackendId(1), kCount * Config::kPageBytes);
    table_ = PageTable<Config>(backend_.region(), kTable);
  }
  const PageTable<Config>* operator->() const { return &table_; }
  PageEntry* operator[](uint32_t page) const { return table_.Entry(page); }

  /** Opens a page of blocks of 256 bytes, 16 of them, or of others. */
  uint32_t OpenClassPage(HeapId id = kId, uint32_t page = kFirst, uint64_t bytes = 256) const {
    REQUIRE(table_.OpenSpan(page, 1, id));
    table_.Entry(page)->shape_.Set(MakeShape(kKindClass, ClassOf(bytes)));
    table_.Entry(page)->committed_.Set(kCommitted);
    return page;
  }
  void CarveAll(uint32_t page) const {
    REQUIRE(table_.Carve(page, Config::kPageBytes));
    while (table_.Carve(page, Config::kPageBytes)) {}
  }
  std::vector<Offset> LocalOf(uint32_t page) const {
    std::vector<Offset> blocks;
    for (Offset block = table_.Entry(page)->local_.Get(); block != 0; block = table_.Link(block)) {
      blocks.push_back(block);
      REQUIRE(blocks.size() <= 256);
    }
    return blocks;
  }
  char* BytesOf(Offset block) const { return backend_.region().AddressOf(block); }
  /** As a heap does that has freed them: the first one bears the others. */
  void PushRun(const std::vector<Offset>& blocks) const {
    for (uint32_t i = 1; i < blocks.size(); ++i) {
      table_.NumbersOf(blocks[0])[i - 1].store(PageTable<Config>::NumberOf(blocks[i]));
    }
    table_.Push(RunWord<Config>::Make(blocks[0]) + blocks.size() - 1);
  }
  /** Takes all blocks of the page into the caller's hands. */
  std::vector<Offset> TakeAll(uint32_t page) const {
    std::vector<Offset> blocks = LocalOf(page);
    OwnedWord<uint64_t> slot;
    PageEntry* entry = table_.Entry(page);
    table_.TakeInHand(entry);
    table_.TakeLocal(entry, &slot);
    table_.PutDown(entry);
    return blocks;
  }

  static constexpr HeapId kId = MakeHeapId(1, kFirstSerial);
  static constexpr HeapId kOtherId = MakeHeapId(2, kFirstSerial);

 private:
  MallocBackend backend_;
  PageTable<Config> table_;
};

}  // namespace hshm::ipc::multi_process

#endif  // HSHM_UNIT_TESTS_MULTI_PROCESS_BARE_PAGES_H_
