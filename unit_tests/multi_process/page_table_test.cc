#include "hermes_shm/memory/allocator/multi_process/page_table.h"

#include <algorithm>
#include <csignal>
#include <cstring>
#include <memory>
#include <set>
#include <vector>

#include "hermes_shm/memory/allocator/multi_process/pending_frees.h"
#include "multi_process/bare_pages.h"
#include "support/catch.h"
#include "support/child_process.h"

namespace hshm::ipc::multi_process {
namespace {

using Config = SmallPages;

using hshm::test::Ending;
using hshm::test::RunInChild;

TEST_CASE("Carving lists every block of a page once, and no more") {
  Pages pages;
  const uint32_t page = pages.OpenClassPage();
  std::set<Offset> seen;
  int carves = 0;
  for (; pages->Carve(page, 1024); ++carves) {
    for (Offset block : pages.TakeAll(page)) {
      REQUIRE(block >= pages->OffsetOf(page));
      REQUIRE(block + 256 <= pages->OffsetOf(page + 1));
      REQUIRE(block % 256 == 0);
      REQUIRE(seen.insert(block).second);
    }
    REQUIRE(pages[page]->used_.Get() == pages[page]->carved_.Get());
  }
  REQUIRE(carves > 1);
  REQUIRE(seen.size() == 16);
}

TEST_CASE("Draining takes every pushed block once, whatever the push count was") {
  const uint32_t start = GENERATE(0u, 0xfffffffau, 0xffffffffu, 0x7fffffffu);
  CAPTURE(start);
  Pages pages;
  const uint32_t page = pages.OpenClassPage();
  pages[page]->remote_.store(RemoteWord::Make(0, start));
  pages[page]->drained_.Set(start);
  pages.CarveAll(page);
  for (int round = 0; round < 5; ++round) {
    const std::vector<Offset> blocks = pages.TakeAll(page);
    REQUIRE(blocks.size() == 16);
    for (size_t i = 0; i < blocks.size(); ++i) {
      pages->Push(page, blocks[i]);
      if (i % 5 == 0) pages->Drain(page);  // in parts, on top of what is local already
    }
    REQUIRE(PageTable<Config>::Pending(pages[page]) == 0);
    REQUIRE(pages[page]->used_.Get() == 0);
    const std::vector<Offset> local = pages.LocalOf(page);
    REQUIRE(std::set<Offset>(local.begin(), local.end()) ==
            std::set<Offset>(blocks.begin(), blocks.end()));
    pages->Drain(page);  // nothing is new
    REQUIRE(pages.LocalOf(page) == local);
  }
}

TEST_CASE("Of a run only its bearer is written to before its owner takes it") {
  const size_t count = GENERATE(1u, 2u, 16u);
  CAPTURE(count);
  Pages pages;
  const uint32_t page = pages.OpenClassPage();
  pages.CarveAll(page);
  const std::vector<Offset> blocks = pages.TakeAll(page);
  for (const Offset block : blocks) std::memset(pages.BytesOf(block), 0x5a, 256);
  pages.PushRun({blocks.begin(), blocks.begin() + static_cast<std::ptrdiff_t>(count)});
  REQUIRE(PageTable<Config>::Pending(pages[page]) == count);
  for (size_t i = 1; i < blocks.size(); ++i) {
    const char* bytes = pages.BytesOf(blocks[i]);
    REQUIRE(bytes[0] == 0x5a);
    REQUIRE(std::memcmp(bytes, bytes + 1, 255) == 0);
  }
  size_t seen = 0;
  REQUIRE(pages->WalkPosted(page, [&](uint32_t) { return ++seen != 0; }) == count);
  REQUIRE(seen == count);
  pages->Drain(page);
  REQUIRE(pages.LocalOf(page) ==
          std::vector<Offset>(blocks.begin(), blocks.begin() + static_cast<std::ptrdiff_t>(count)));
  REQUIRE(pages[page]->used_.Get() == blocks.size() - count);
}

TEST_CASE("A drain of runs that was cut anywhere is finished by whoever comes, with newer runs") {
  // After the links of so many runs, then after local_: the runs are there as before.
  const int links = GENERATE(0, 1, 2, 3);
  const bool is_listed = GENERATE(false, true);
  const bool is_dead = GENERATE(false, true);
  CAPTURE(links, is_listed, is_dead);
  Pages pages;
  const uint32_t page = pages.OpenClassPage();
  pages.CarveAll(page);
  const std::vector<Offset> blocks = pages.TakeAll(page);
  pages.PushRun({blocks[0], blocks[1], blocks[2]});
  pages.PushRun({blocks[3]});
  pages.PushRun({blocks[4], blocks[5]});
  const uint32_t drained = pages[page]->drained_.Get();
  const uint32_t used = pages[page]->used_.Get();
  if (is_listed) {
    pages->Drain(page);
    pages[page]->drained_.Set(drained);
    pages[page]->used_.Set(used);
  } else {
    if (links > 0) pages->LinkRun(blocks[4], 1);
    if (links > 1) pages->SetLink(blocks[5], blocks[3]);
    if (links > 2) pages->LinkRun(blocks[0], 2);
  }
  pages.PushRun({blocks[6], blocks[7]});
  is_dead ? pages->RecountOfDead(page) : pages->Recount(page);
  REQUIRE(PageTable<Config>::Pending(pages[page]) == 0);
  REQUIRE(pages.LocalOf(page) == std::vector<Offset>{blocks[6], blocks[7], blocks[4], blocks[5],
                                                     blocks[3], blocks[0], blocks[1], blocks[2]});
  REQUIRE(pages[page]->used_.Get() == blocks.size() - 8);
}

TEST_CASE("A run into which its dead bearer's user wrote is lost, with those posted before it") {
  static constexpr uint64_t kAsItIs = 0x0102030405060708;
  // {others, next, number, number}: too many, out of the page, nowhere, no block, one block twice;
  // fewer, more than there are.
  const uint64_t written =
      GENERATE(uint64_t{kAsItIs}, ~uint64_t{0}, uint64_t{0x0020'0010'ffff'fd02},
               uint64_t{0x0020'0010'0000'fd02}, uint64_t{0x0021'0010'0001'fd02},
               uint64_t{0x0010'0010'0001'fd02}, uint64_t{0x0020'0010'0001'fd01},
               uint64_t{0x0020'0010'0001'fb04});
  CAPTURE(written);
  Pages pages;
  const uint32_t page = pages.OpenClassPage();
  pages.CarveAll(page);
  const std::vector<Offset> blocks = pages.TakeAll(page);
  REQUIRE(blocks[0] == PageTable<Config>::OffsetOf(page));
  pages.PushRun({blocks[0]});
  pages.PushRun({blocks[3], blocks[1], blocks[2]});
  pages.PushRun({blocks[4], blocks[5]});
  if (written != kAsItIs) std::memcpy(pages.BytesOf(blocks[3]) + 8, &written, sizeof written);
  pages->RecountOfDead(page);
  REQUIRE(PageTable<Config>::Pending(pages[page]) == 0);
  std::vector<Offset> left = {blocks[4], blocks[5]};
  if (written == kAsItIs) left.insert(left.end(), {blocks[3], blocks[1], blocks[2], blocks[0]});
  REQUIRE(pages.LocalOf(page) == left);
  REQUIRE(pages[page]->used_.Get() == blocks.size() - left.size());
}

TEST_CASE("A drain is led out of its page by nothing that a bearer says, and says so") {
  // {others, next, number, number}: too many, out of the page, nowhere, more than there are
  // and on to the local list, a count that was written over.
  const uint64_t said = GENERATE(~uint64_t{0}, uint64_t{0xffff'ff00}, uint64_t{0xff00},
                                 uint64_t{0x0060'0050'0071'fd02}, uint64_t{0x0001'fe00});
  const Ending ending = RunInChild([&] {
    Pages pages;
    const uint32_t page = pages.OpenClassPage();
    pages.CarveAll(page);
    const std::vector<Offset> blocks = pages.TakeAll(page);
    pages->SetLink(blocks[7], 0);
    pages[page]->local_.Set(blocks[7]);
    for (size_t i = 0; i < 3; ++i) pages->Push(page, blocks[i]);
    std::memcpy(pages.BytesOf(blocks[1]) + 8, &said, sizeof said);
    pages->Drain(page);
  });
  CAPTURE(said, ending.errors_);
  REQUIRE(ending.status_ == -SIGABRT);
  REQUIRE(ending.errors_.find("Corruption") != std::string::npos);
}

TEST_CASE("Bearers of the smallest blocks name as many others as they have room for") {
  const uint64_t bytes = GENERATE(16u, 32u, 48u);
  const auto most = std::min<size_t>(RunBearer::MostOthers(bytes), RunWord<Config>::kMaxBlocks - 1);
  CAPTURE(bytes, most);
  REQUIRE(kRunRules<Config>[ClassOf(bytes)].max_blocks_ == most + 1);
  Pages pages;
  const uint32_t page = pages.OpenClassPage(Pages::kId, Pages::kFirst, bytes);
  pages.CarveAll(page);
  const std::vector<Offset> blocks = pages.TakeAll(page);
  REQUIRE(blocks.size() > most + 1);
  for (const Offset block : blocks) std::memset(pages.BytesOf(block), 0x5a, bytes);
  const auto end = blocks.begin() + static_cast<std::ptrdiff_t>(most + 1);
  pages.PushRun({blocks.begin(), end});
  for (auto block = blocks.begin() + 1; block != blocks.end(); ++block) {
    const char* written = pages.BytesOf(*block);
    REQUIRE(written[0] == 0x5a);
    REQUIRE(std::memcmp(written, written + 1, bytes - 1) == 0);
  }
  pages->Drain(page);
  REQUIRE(pages.LocalOf(page) == std::vector<Offset>(blocks.begin(), end));
}

TEST_CASE("No bearer has more others than it has room for, whatever is written into it") {
  const Ending ending = RunInChild([] {
    Pages pages;
    const uint32_t page = pages.OpenClassPage(Pages::kId, Pages::kFirst, 16);
    HSHM_CHECK(pages->Carve(page, 512));
    const std::vector<Offset> blocks = pages.TakeAll(page);
    for (size_t i = 0; i < 20; ++i) pages->Push(page, blocks[i]);
    const uint16_t said = RunBearer::MakeOthers(3);  // its numbers would be the next block's bytes
    std::memcpy(pages.BytesOf(blocks[19]) + 8, &said, sizeof said);
    pages->Drain(page);
  });
  CAPTURE(ending.errors_);
  REQUIRE(ending.status_ == -SIGABRT);
  REQUIRE(ending.errors_.find("Corruption") != std::string::npos);
}

TEST_CASE("A drain that was cut before its count is repeated without harm") {
  Pages pages;
  const uint32_t page = pages.OpenClassPage();
  pages.CarveAll(page);
  const std::vector<Offset> blocks = pages.TakeAll(page);
  for (size_t i = 0; i < 6; ++i) pages->Push(page, blocks[i]);
  const uint32_t drained = pages[page]->drained_.Get();
  const uint32_t used = pages[page]->used_.Get();
  pages->Drain(page);
  const std::vector<Offset> once = pages.LocalOf(page);
  pages[page]->drained_.Set(drained);  // as if cut after the store of local_
  pages[page]->used_.Set(used);
  pages->Recount(page);
  REQUIRE(pages.LocalOf(page) == once);
  REQUIRE(pages[page]->used_.Get() == 10);
  pages[page]->used_.Set(used);  // as if cut before the store of used_
  pages->Recount(page);
  REQUIRE(pages[page]->used_.Get() == 10);
}

TEST_CASE(
    "Settling gives a class slot's list back in front of the page's own, also when repeated") {
  Pages pages;
  const uint32_t page = pages.OpenClassPage();
  REQUIRE(pages->Carve(page, 1024));
  OwnedWord<uint64_t> slot;
  pages->TakeInHand(pages[page]);
  const Offset taken = pages->TakeLocal(pages[page], &slot);
  REQUIRE(slot.Get() == taken);
  REQUIRE(pages->Used(pages[page]) == pages[page]->carved_.Get());
  REQUIRE(pages[page]->used_.Get() == pages[page]->carved_.Get() + 1);  // nobody takes it
  const Offset first = slot.Get();
  REQUIRE(pages->Carve(page, 1024));
  const size_t own = pages.LocalOf(page).size();
  REQUIRE(pages->Settle(&slot) == page);
  REQUIRE(slot.Get() == 0);
  const std::vector<Offset> all = pages.LocalOf(page);
  REQUIRE(all.size() == pages[page]->carved_.Get());
  REQUIRE(all.size() > own);
  slot.Set(first);  // as if cut before the store of the slot
  REQUIRE(pages->Settle(&slot) == page);
  REQUIRE(pages.LocalOf(page) == all);
  REQUIRE(pages->Settle(&slot) == kNoPage);
  pages->Recount(page);
  REQUIRE(pages[page]->used_.Get() == 0);
}

TEST_CASE("Settling finishes a drain that was cut, also when more was pushed since") {
  Pages pages;
  const uint32_t page = pages.OpenClassPage();
  REQUIRE(pages->Carve(page, 1024));
  OwnedWord<uint64_t> slot;
  pages->TakeInHand(pages[page]);
  pages->TakeLocal(pages[page], &slot);
  pages.CarveAll(page);
  const std::vector<Offset> blocks = pages.LocalOf(page);
  REQUIRE(blocks.size() > 6);
  pages[page]->local_.Set(blocks[6]);
  for (size_t i = 0; i < 4; ++i) pages->Push(page, blocks[i]);
  const uint32_t drained = pages[page]->drained_.Get();
  pages->Drain(page);
  pages[page]->drained_.Set(drained);  // as if cut after the store of local_
  for (size_t i = 4; i < 6; ++i) pages->Push(page, blocks[i]);
  REQUIRE(pages->Settle(&slot) == page);
  REQUIRE(pages->Pending(pages[page]) == 2);
  pages->Recount(page);
  REQUIRE(pages.LocalOf(page).size() == pages[page]->carved_.Get());
  REQUIRE(pages[page]->used_.Get() == 0);
}

TEST_CASE("Of a mixed slot each block goes to its own page, whosever that is") {
  Pages pages;
  const uint32_t own = pages.OpenClassPage(Pages::kId);
  const uint32_t other = pages.OpenClassPage(Pages::kOtherId, own + 1);
  pages.CarveAll(own);
  pages.CarveAll(other);
  const std::vector<Offset> owned = pages.TakeAll(own);
  const std::vector<Offset> blocks = pages.TakeAll(other);
  pages->SetLink(blocks[0], owned[0]);
  pages->SetLink(owned[0], blocks[1]);
  pages->SetLink(blocks[1], 0);
  OwnedWord<uint64_t> slot;
  slot.Set(blocks[0]);
  pages->PushMixed(&slot);
  REQUIRE(slot.Get() == 0);
  REQUIRE(pages->Pending(pages[own]) == 1);
  REQUIRE(pages->Pending(pages[other]) == 2);
  pages->Drain(other);
  REQUIRE(pages.LocalOf(other) == std::vector<Offset>{blocks[1], blocks[0]});
}

TEST_CASE("A mixed slot takes some of a page's list, and a death in between loses none") {
  constexpr uint32_t kTaken = 3;
  // After so many of the stores; 4: all, with used_.
  const int stores = GENERATE(1, 2, 3, 4);
  Pages pages;
  const uint32_t page = pages.OpenClassPage();
  pages.CarveAll(page);
  const std::vector<Offset> blocks = pages.LocalOf(page);
  REQUIRE(blocks.size() > kTaken);
  const uint32_t used = pages[page]->used_.Get();
  OwnedWord<uint64_t> slot;
  pages->TakeSomeLocal(pages[page], &slot, kTaken);
  REQUIRE(slot.Get() == blocks[0]);
  REQUIRE(pages[page]->used_.Get() == used + kTaken);
  REQUIRE(pages.LocalOf(page) == std::vector<Offset>(blocks.begin() + kTaken, blocks.end()));
  REQUIRE(pages->Link(blocks[kTaken - 1]) == 0);
  if (stores < 4) pages[page]->used_.Set(used);
  if (stores < 3) pages->SetLink(blocks[kTaken - 1], blocks[kTaken]);
  if (stores < 2) pages[page]->local_.Set(blocks[0]);
  pages->CutList(ClassOf(256), &slot, Pages::kId);
  pages->PushMixed(&slot);
  REQUIRE(slot.Get() == 0);
  REQUIRE(pages->Pending(pages[page]) == (stores == 1 ? 0 : kTaken));
  pages->RecountOfDead(page);
  std::vector<Offset> left = pages.LocalOf(page);
  std::sort(left.begin(), left.end());
  REQUIRE(left == blocks);
  REQUIRE(pages[page]->used_.Get() == 0);
}

TEST_CASE("A list into which somebody wrote ends before the block that leads to none") {
  constexpr size_t kKept = 3;
  const uint64_t wrong = GENERATE(~uint64_t{0}, Pages::kTable, uint64_t{0});  // 0: a circle
  Pages pages;
  const uint32_t page = pages.OpenClassPage();
  pages.CarveAll(page);
  const std::vector<Offset> blocks = pages.LocalOf(page);
  OwnedWord<uint64_t> slot;
  slot.Set(blocks[0]);
  const uint32_t number = ClassOf(256);
  pages->CutList(number, &slot, Pages::kId);
  pages->RecountOfDead(page);
  REQUIRE(slot.Get() == blocks[0]);
  REQUIRE(pages.LocalOf(page) == blocks);  // nothing is wrong yet
  pages->SetLink(blocks[kKept - 1], wrong == 0 ? blocks[0] : wrong);
  SECTION("the list of a class slot") { pages->CutList(number, &slot, Pages::kId); }
  SECTION("the list of a page") { pages->RecountOfDead(page); }
  const std::vector<Offset> left = pages.LocalOf(page);
  if (wrong != 0) REQUIRE(left.size() == kKept - 1);
  REQUIRE(left.size() <= kKept);  // a circle ends at one of its blocks
  REQUIRE_FALSE(left.empty());
  REQUIRE(std::equal(left.begin(), left.end(), blocks.begin()));
}

TEST_CASE("A list that begins where no block does is empty") {
  Pages pages;
  const uint32_t page = pages.OpenClassPage();
  pages.CarveAll(page);
  OwnedWord<uint64_t> slot;
  for (uint64_t first : {~uint64_t{0}, Pages::kTable + 8, PageTable<Config>::OffsetOf(page) + 8}) {
    slot.Set(first);
    pages->CutList(ClassOf(256), &slot, Pages::kId);
    REQUIRE(slot.Get() == 0);
    pages[page]->local_.Set(first);
    pages->RecountOfDead(page);
    REQUIRE(pages[page]->local_.Get() == 0);
  }
}

TEST_CASE("A carve that was cut between its two stores is counted by Recount") {
  Pages pages;
  const uint32_t page = pages.OpenClassPage();
  REQUIRE(pages->Carve(page, 1024));
  const uint32_t carved = pages[page]->carved_.Get();
  REQUIRE(carved > 1);
  pages[page]->carved_.Set(0);
  pages->Recount(page);
  REQUIRE(pages[page]->carved_.Get() == carved);
  REQUIRE(pages[page]->used_.Get() == 0);
}

TEST_CASE("A span opens whole or not at all") {
  Pages pages;
  const uint32_t first = Pages::kFirst;
  REQUIRE(pages->OpenSpan(first + 3, 1, Pages::kOtherId));
  REQUIRE_FALSE(pages->OpenSpan(first, 5, Pages::kId));
  for (uint32_t page : {first, first + 1, first + 2, first + 4}) {
    REQUIRE(pages[page]->owner_.Get() == kFreePage);
  }
  REQUIRE(pages[first + 3]->owner_.Get() == Pages::kOtherId);
  REQUIRE(pages->OpenSpan(first, 3, Pages::kId));
  for (uint32_t page = first; page < first + 3; ++page) REQUIRE(pages->HeadOf(page) == first);
  REQUIRE_FALSE(pages->OpenSpan(first + 2, 1, Pages::kOtherId));
  pages->Retire(first);
  for (uint32_t page = first; page < first + 3; ++page) {
    REQUIRE(pages[page]->owner_.Get() == kFreePage);
  }
}

TEST_CASE("A span grows into free pages, and shrinks page by page") {
  Pages pages;
  const uint32_t first = Pages::kFirst;
  REQUIRE(pages->OpenSpan(first, 2, Pages::kId));
  REQUIRE(pages->OpenSpan(first + 4, 1, Pages::kOtherId));
  REQUIRE(pages->ExtendSpan(first, 4));
  REQUIRE(pages[first]->span_.Get() == 4);
  REQUIRE_FALSE(pages->ExtendSpan(first, 5));
  REQUIRE(pages[first + 4]->owner_.Get() == Pages::kOtherId);
  pages->ShrinkSpan(first, 1);
  REQUIRE(pages[first]->span_.Get() == 1);
  REQUIRE(pages->OpenSpan(first + 1, 3, Pages::kOtherId));
}

TEST_CASE("An extension that was cut in the middle leaves one page, which is cleared") {
  Pages pages;
  const uint32_t first = Pages::kFirst;
  REQUIRE(pages->OpenSpan(first, 2, Pages::kId));
  REQUIRE(pages[first + 2]->owner_.CasFrom(kFreePage, kSpanInterior));  // and cut
  pages->ClearCutExtension(first, first + 2);                           // it is beyond the end
  REQUIRE(pages[first + 2]->owner_.Get() == kSpanInterior);
  pages->ClearCutExtension(first, first + 8);
  REQUIRE(pages[first + 2]->owner_.Get() == kFreePage);
  REQUIRE(pages[first + 1]->owner_.Get() == kSpanInterior);
  pages->ClearCutExtension(first, first + 8);  // nothing more to clear
  REQUIRE(pages[first + 1]->owner_.Get() == kSpanInterior);
}

TEST_CASE("Deleting empties a page whoever has its blocks, and keeps its push count") {
  Pages pages;
  const uint32_t page = pages.OpenClassPage();
  pages.CarveAll(page);
  const std::vector<Offset> blocks = pages.TakeAll(page);
  pages->Push(page, blocks[0]);
  pages->Push(page, blocks[1]);
  pages->Delete(page);
  REQUIRE(pages[page]->owner_.Get() == kFreePage);
  REQUIRE(PageTable<Config>::Pending(pages[page]) == 0);
  REQUIRE(RemoteWord::Pushed(pages[page]->remote_.load()) == 2);
  pages.OpenClassPage(Pages::kOtherId);
  pages.CarveAll(page);
  REQUIRE(pages.LocalOf(page).size() == 16);
}

}  // namespace
}  // namespace hshm::ipc::multi_process
