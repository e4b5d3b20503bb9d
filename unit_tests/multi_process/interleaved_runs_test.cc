/** A run of remote frees that who deletes its page posts, between any two instructions of a free.
 */
#include <vector>

#include "hermes_shm/memory/allocator/multi_process/pending_frees.h"
#include "hermes_shm/memory/backend/membership.h"
#include "multi_process/bare_pages.h"
#include "support/stepped_call.h"

namespace hshm::ipc::multi_process {
namespace {

using Config = SmallPages;
using Run = RunWord<Config>;

TEST_CASE("A run is posted once, by its heap or by who deletes its page, which comes to the heap") {
  bool has_come = true;
  uint32_t by_deleter = 0;
  uint32_t by_heap = 0;
  for (uint32_t n = 0; has_come; n += 3) {
    CAPTURE(n);
    Pages pages;
    Membership deleter(pages->region());  // in slot 0
    Membership me(pages->region());       // in slot 1
    REQUIRE(me.slot() == SlotOf(Pages::kId));
    const uint32_t first = pages.OpenClassPage(Pages::kOtherId, Pages::kFirst);
    const uint32_t deleted = pages.OpenClassPage(Pages::kOtherId, Pages::kFirst + 1);
    const uint32_t freed = pages.OpenClassPage(Pages::kOtherId, Pages::kFirst + 2);
    std::vector<std::vector<Offset>> blocks;
    for (const uint32_t page : {first, deleted, freed}) {
      pages.CarveAll(page);
      blocks.push_back(pages.TakeAll(page));
    }
    HeapRecord<Config> record{};
    PendingFrees<Config> pending(*pages.operator->(), me.identity(), me.slot());
    REQUIRE(pending.Reserve(Pages::kCount) == 0);
    pending.Use(&record);
    REQUIRE(pending.Begin(blocks[0][0]));  // in the place that a page has at first
    const uint64_t run = Run::Make(blocks[1][0]);
    record.pending_[1].Set(run);  // in the place that the next page gets
    const auto post = [&] {       // as a sweeper does it
      if (!record.lock_.TakeFree(deleter.identity())) return;
      const bool is_there = record.pending_[1].GetAcquire() == run;
      if (is_there) {
        record.pending_[1].Set(0);
        pages->Push(run);
        ++by_deleter;
      } else {
        ++by_heap;
      }
      record.lock_.Unlock(deleter.identity());
      if (!is_there) return;
      pages->Delete(deleted);
      REQUIRE(pages->OpenSpan(deleted, 1, Pages::kId));
    };
    uint32_t left = n;
    bool has_begun = false;
    has_come = false;
    hshm::test::SteppedCall::Run([&] { has_begun = pending.Begin(blocks[2][0]); },
                                 [&] {
                                   if (left-- != 0) return true;
                                   has_come = true;
                                   post();
                                   return false;
                                 });
    REQUIRE(has_begun);
    const uint64_t word = record.pending_[1].Get();
    const bool is_pushed = PageTable<Config>::Pending(pages[freed]) == 1;
    REQUIRE((word == Run::Make(blocks[2][0]) || is_pushed));  // one of the two, where it waits
    REQUIRE(RemoteWord::Pushed(pages[deleted]->remote_.load()) == (word == run ? 0 : 1));
    REQUIRE(record.lock_.HolderSlot() == Mutex::kNoSlot);
  }
  REQUIRE(by_deleter > 5);
  REQUIRE(by_heap > 0);
}

}  // namespace
}  // namespace hshm::ipc::multi_process
