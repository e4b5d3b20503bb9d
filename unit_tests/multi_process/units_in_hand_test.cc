/** Pages of a process's units: whose they are when others had them meanwhile. */
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

}  // namespace
}  // namespace hshm::test
