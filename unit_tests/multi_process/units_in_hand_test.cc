/** Pages of a process's units: whose they are when others had them meanwhile. */
#include <algorithm>
#include <csignal>
#include <thread>
#include <vector>

#include "multi_process/heap.h"
#include "support/child_process.h"

namespace hshm::test {
namespace {

using Config = ipc::multi_process::LargePages;

constexpr uint64_t kRegion = 64 << 20;
constexpr uint64_t kPage = Config::kPageBytes;

TEST_CASE("Who adopts a unit keeps what its threads and its records had taken of it") {
  SharedHeap<MultiProcessAllocator> heap(kRegion);
  ChildProcess sleeper([&] {
    MultiProcessAllocator* own = heap.Attach();
    const std::vector<OffsetPtr<>> all = FillUp(own, {kPage});
    for (size_t i = 0; i < all.size(); ++i) {
      if (i % 4 != 0) own->FreeOffset(kCtx, all[i]);  // so that no unit is empty
    }
    raise(SIGSTOP);
    return 0;
  });
  sleeper.AwaitStop();
  MultiProcessAllocator* late = heap.Attach();
  std::vector<OffsetPtr<>> blocks;
  const auto take = [&] {
    for (int i = 0; i < 3; ++i) {
      blocks.push_back(late->AllocateOffset(kCtx, kPage));
      REQUIRE_FALSE(blocks.back().IsNull());
      FillPattern(BytesOf(late, blocks.back()), kPage, blocks.size());
    }
  };
  take();
  std::thread(take).join();
  const uint64_t live = late->GetCurrentlyAllocatedSize();
  sleeper.Kill();
  REQUIRE(late->Recover() == 1);
  REQUIRE(late->Check());
  REQUIRE(late->GetCurrentlyAllocatedSize() == live);
  const std::vector<OffsetPtr<>> rest = FillUp(late, {kPage});  // none of these is handed out
  for (size_t i = 0; i < rest.size(); ++i) FillPattern(BytesOf(late, rest[i]), kPage, 1000 + i);
  for (size_t i = 0; i < blocks.size(); ++i) {
    REQUIRE(HasPattern(BytesOf(late, blocks[i]), kPage, kPage, i + 1));
  }
  FreeAll(late, rest);
  FreeAll(late, blocks);
  REQUIRE(late->Check());
}

constexpr uint64_t kSmallPage = ipc::multi_process::SmallPages::kPageBytes;

/** A process whose only unit is all of the region, and another that has pages of it alone. */
struct Guest {
  static MultiProcessOptions Alone() {
    MultiProcessOptions options;
    options.expected_processes_ = 1;
    return options;
  }
  /** How many pages one can have who asks everybody for the last of them. */
  static size_t CountOf(SmallMultiProcessAllocator* by) {
    const std::vector<OffsetPtr<>> all = FillUp(by, {kSmallPage});
    FreeAll(by, all);
    by->Trim();
    return all.size();
  }
  /** The run, which `from` has in a full region, is freed, and two pages of it are the other's. */
  static OffsetPtr<> TakePart(SmallMultiProcessAllocator* by, SmallMultiProcessAllocator* from) {
    const OffsetPtr<> run = from->AllocateOffset(kCtx, 4 * kSmallPage);
    const std::vector<OffsetPtr<>> rest = FillUp(by, {2 * kSmallPage});
    Free(by, run);
    const OffsetPtr<> part = by->AllocateOffset(kCtx, 2 * kSmallPage);
    REQUIRE(part.load() == run.load());
    FillPattern(BytesOf(by, part), 2 * kSmallPage, 1);
    FreeAll(by, rest);
    return part;
  }
  static void Free(SmallMultiProcessAllocator* by, OffsetPtr<> block) {
    by->FreeOffset(kCtx, block);
    by->Trim();
  }

  PrivateHeap<SmallMultiProcessAllocator> heap_{1 << 20, Alone()};
  SmallMultiProcessAllocator* host_ = heap_.first();
  SmallMultiProcessAllocator* guest_ = nullptr;
};

TEST_CASE("What a dead process left free of a thread's former run is had in need, and comes home") {
  Guest s;
  const size_t at_first = Guest::CountOf(s.host_);
  s.guest_ = s.heap_.Attach();
  const OffsetPtr<> part = Guest::TakePart(s.guest_, s.host_);
  s.guest_->shm_detach(ipc::DetachMode::kKeepLive);
  REQUIRE(s.host_->Recover() == 1);  // the thread has the part again, and notes what is behind it
  bool is_had = false;
  std::thread([&] {
    // Longer than any other that is left: of all that lies behind the part in the thread's unit.
    const std::vector<OffsetPtr<>> all = FillUp(s.host_, {6 * kSmallPage});
    for (const OffsetPtr<> block : all) is_had |= block.load() == part.load() + 2 * kSmallPage;
    FreeAll(s.host_, all);
  }).join();
  REQUIRE(is_had);
  REQUIRE(HasPattern(BytesOf(s.host_, part), 2 * kSmallPage, 2 * kSmallPage, 1));
  Guest::Free(s.host_, part);
  REQUIRE(Guest::CountOf(s.host_) == at_first);
  REQUIRE(s.host_->Check());
}

TEST_CASE("What a dead process left free of its heir's former run comes with the dead's unit") {
  Guest s;
  const size_t at_first = Guest::CountOf(s.host_);
  s.guest_ = s.heap_.Attach();
  const OffsetPtr<> part = Guest::TakePart(s.host_, s.guest_);
  s.host_->shm_detach(ipc::DetachMode::kKeepLive);
  REQUIRE(s.guest_->Recover() == 1);  // pages first: what is behind the part is not its own yet
  REQUIRE(HasPattern(BytesOf(s.guest_, part), 2 * kSmallPage, 2 * kSmallPage, 1));
  Guest::Free(s.guest_, part);
  REQUIRE(Guest::CountOf(s.guest_) == at_first);
  REQUIRE(s.guest_->Check());
}

TEST_CASE(
    "A page that comes home to a living thread waits for it, whoever asks and trims meanwhile") {
  Guest s;
  s.guest_ = s.heap_.Attach();
  const OffsetPtr<> first = s.host_->AllocateOffset(kCtx, 2 * kSmallPage);
  // The guest has pages of the thread's unit, which the thread finds out when it would open them.
  std::vector<OffsetPtr<>> taken;
  while (taken.empty() || taken.back().load() < first.load()) {
    taken.push_back(s.guest_->AllocateOffset(kCtx, 2 * kSmallPage));
    REQUIRE_FALSE(taken.back().IsNull());
  }
  const OffsetPtr<> lost = taken.back();
  REQUIRE(lost.load() == first.load() + 2 * kSmallPage);
  const OffsetPtr<> second = s.host_->AllocateOffset(kCtx, 2 * kSmallPage);
  REQUIRE(second.load() == lost.load() + 2 * kSmallPage);
  Guest::Free(s.guest_, lost);
  OffsetPtr<> of_other;
  std::thread([&] {
    of_other = s.host_->AllocateOffset(kCtx, 2 * kSmallPage);
    s.host_->Trim();
  }).join();
  REQUIRE(of_other.load() != lost.load());
  std::vector<OffsetPtr<>> blocks;
  const auto is_lost = [&](OffsetPtr<> block) { return block.load() == lost.load(); };
  for (int i = 0; i < 20 && std::none_of(blocks.begin(), blocks.end(), is_lost); ++i) {
    blocks.push_back(s.host_->AllocateOffset(kCtx, 2 * kSmallPage));
    REQUIRE_FALSE(blocks.back().IsNull());
  }
  REQUIRE(is_lost(blocks.back()));
  FreeAll(s.host_, blocks);
  REQUIRE(s.host_->Check());
}

}  // namespace
}  // namespace hshm::test
