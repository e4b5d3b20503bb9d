/** Lists of a page into which somebody wrote, one step of those who walk them at a time. */
#include <csignal>
#include <cstring>
#include <string>
#include <vector>

#include "multi_process/bare_pages.h"
#include "support/catch.h"
#include "support/child_process.h"

namespace hshm::ipc::multi_process {
namespace {

using Config = SmallPages;

using hshm::test::Ending;
using hshm::test::RunInChild;

/** Blocks of a page that a user has. */
struct Taken {
  Taken() : page_(pages_.OpenClassPage()) {
    pages_.CarveAll(page_);
    blocks_ = pages_.TakeAll(page_);
  }
  PageEntry* entry() const { return pages_[page_]; }

  Pages pages_;
  uint32_t page_;
  std::vector<Offset> blocks_;
};

TEST_CASE("A slot's list that leads back is looked through once for where it ends") {
  Taken f;
  OwnedWord<uint64_t> slot;
  slot.Set(f.blocks_[0]);
  f.pages_->SetLink(f.blocks_[0], f.blocks_[1]);
  f.pages_->SetLink(f.blocks_[1], f.blocks_[0]);
  f.pages_->EndListAt(&slot, f.blocks_[5]);  // it is not there
  REQUIRE(slot.Get() == f.blocks_[0]);
  REQUIRE(f.pages_->Link(f.blocks_[0]) == f.blocks_[1]);
  REQUIRE(f.pages_->Link(f.blocks_[1]) == f.blocks_[0]);
  f.pages_->EndListAt(&slot, f.blocks_[1]);
  REQUIRE(slot.Get() == f.blocks_[0]);
  REQUIRE(f.pages_->Link(f.blocks_[0]) == 0);
}

TEST_CASE("A drain of a page whose list is empty stops at a bearer that leads to none") {
  const Ending ending = RunInChild([] {
    Taken f;
    f.pages_->Push(f.page_, f.blocks_[0]);
    f.pages_->Push(f.page_, f.blocks_[1]);
    const uint16_t nowhere = 0;
    std::memcpy(f.pages_.BytesOf(f.blocks_[1]) + RunBearer::kNext, &nowhere, sizeof nowhere);
    f.pages_->Drain(f.page_);
  });
  CAPTURE(ending.errors_);
  REQUIRE(ending.status_ == -SIGABRT);
  REQUIRE(ending.errors_.find("Corruption") != std::string::npos);
}

TEST_CASE("A dead page's list that is empty gets what is left when a bearer leads to none") {
  Taken f;
  f.pages_->Push(f.page_, f.blocks_[0]);
  f.pages_.PushRun({f.blocks_[1], f.blocks_[2]});
  const uint16_t nowhere = 0;
  std::memcpy(f.pages_.BytesOf(f.blocks_[1]) + RunBearer::kNext, &nowhere, sizeof nowhere);
  f.pages_->RecountOfDead(f.page_);
  REQUIRE(PageTable<Config>::Pending(f.entry()) == 0);
  // The last that can be reached may have been written to as well: it goes with what it hides.
  REQUIRE(f.pages_.LocalOf(f.page_).empty());
  REQUIRE(f.entry()->used_.Get() == f.blocks_.size());
}

TEST_CASE("No dead bearer has more others than it has room for, whatever is written into it") {
  Pages pages;
  const uint32_t page = pages.OpenClassPage(Pages::kId, Pages::kFirst, 16);
  REQUIRE(pages->Carve(page, 512));
  const std::vector<Offset> blocks = pages.TakeAll(page);
  for (size_t i = 0; i < 20; ++i) pages->Push(page, blocks[i]);
  const uint16_t said = RunBearer::MakeOthers(3);
  std::memcpy(pages.BytesOf(blocks[18]) + RunBearer::kOthers, &said, sizeof said);
  // The last of its numbers would be the next block's bytes, where all could be right.
  REQUIRE(blocks[19] == blocks[18] + 16);
  for (uint32_t i = 0; i < 3; ++i) {
    pages->NumbersOf(blocks[18])[i].store(PageTable<Config>::NumberOf(blocks[25 + i]));
  }
  pages->RecountOfDead(page);
  REQUIRE(pages.LocalOf(page) == std::vector<Offset>{blocks[19]});
  REQUIRE(pages[page]->used_.Get() == blocks.size() - 1);
}

TEST_CASE("A dead slot's list ends before what is no block of its class, process and memory") {
  Taken f;
  const uint32_t run = f.page_ + 1;
  REQUIRE(f.pages_->OpenSpan(run, 1, Pages::kId));
  f.pages_[run]->shape_.Set(MakeShape(kKindRun, Config::RunSlot(2)));
  f.pages_[run]->committed_.Set(kCommitted);
  const uint32_t other_class = f.pages_.OpenClassPage(Pages::kId, f.page_ + 2, 512);
  const uint32_t of_others = f.pages_.OpenClassPage(Pages::kOtherId, f.page_ + 3);
  const uint32_t free = f.page_ + 4;
  const uint32_t bare = f.pages_.OpenClassPage(Pages::kId, f.page_ + 5);
  f.pages_[bare]->committed_.Set(kNotCommitted);
  for (const uint32_t page : {run, other_class, of_others, free, bare, Pages::kCount}) {
    CAPTURE(page);
    OwnedWord<uint64_t> slot;
    slot.Set(f.blocks_[0]);
    f.pages_->SetLink(f.blocks_[0], f.blocks_[1]);
    f.pages_->SetLink(f.blocks_[1], PageTable<Config>::OffsetOf(page));
    f.pages_->CutList(ClassOf(256), &slot, Pages::kId);
    REQUIRE(slot.Get() == f.blocks_[0]);
    REQUIRE(f.pages_->Link(f.blocks_[0]) == 0);  // what leads there goes, too
    slot.Set(PageTable<Config>::OffsetOf(page));
    f.pages_->CutList(ClassOf(256), &slot, Pages::kId);
    REQUIRE(slot.Get() == 0);
  }
}

TEST_CASE("A slot's list is settled without a look at pushes that cannot be, or lead away") {
  Taken f;
  f.pages_->SetLink(f.blocks_[3], 0);
  f.entry()->local_.Set(f.blocks_[3]);
  f.pages_->Push(f.page_, f.blocks_[0]);
  const uint64_t pushed = f.entry()->remote_.load();
  if (GENERATE(false, true)) {
    // As of more blocks than the page has.
    f.entry()->remote_.store(RemoteWord::Make(RemoteWord::Head(pushed), 100));
  } else {
    f.pages_->Push(f.page_, f.blocks_[1]);
    const uint16_t nowhere = 0;
    std::memcpy(f.pages_.BytesOf(f.blocks_[1]) + RunBearer::kNext, &nowhere, sizeof nowhere);
  }
  OwnedWord<uint64_t> slot;
  slot.Set(f.blocks_[4]);
  f.pages_->SetLink(f.blocks_[4], 0);
  REQUIRE(f.pages_->Settle(&slot) == f.page_);
  REQUIRE(slot.Get() == 0);
  REQUIRE(f.pages_.LocalOf(f.page_) == std::vector<Offset>{f.blocks_[4], f.blocks_[3]});
  REQUIRE(f.entry()->drained_.Get() == 0);
}

}  // namespace
}  // namespace hshm::ipc::multi_process
