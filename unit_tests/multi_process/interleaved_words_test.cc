/** Words that another changes between any two instructions of who is about to change them. */
#include <cstdint>

#include "multi_process/heap.h"
#include "support/stepped_call.h"

namespace hshm::test {
namespace {

using Config = ipc::multi_process::LargePages;
using Root = ipc::multi_process::RootTier<Config>;
using ipc::multi_process::CacheEntryLease;
using ipc::multi_process::HeadWord;

/** Runs the call, with the turn after so many of its instructions. False when it has ended before.
 */
template <typename Call, typename Turn>
bool RunWith(uint32_t instructions, Call call, Turn turn) {
  uint32_t left = instructions;
  bool has_come = false;
  SteppedCall::Run(call, [&] {
    if (left-- != 0) return true;
    has_come = true;
    turn();
    return false;
  });
  return has_come;
}

TEST_CASE("A large block that is freed without the root is left, wherever its label changes") {
  MultiProcessOptions options;
  options.process_unit_bytes_ = 1 << 20;
  PrivateHeap<MultiProcessAllocator> heap(8 << 20, options);
  MultiProcessAllocator* alloc = heap.first();
  const ipc::Region& region = alloc->GetRegion();
  const auto* header = region.At<ipc::AllocatorHeader>(ipc::AllocatorOffsetFor(region.size_bytes_));
  Root freer(region, header->core_offset_, nullptr);
  Root sweeper(region, header->core_offset_, nullptr);
  bool has_come = true;
  uint32_t rounds = 0;
  for (uint32_t n = 0; has_come; n += 3) {
    CAPTURE(n);
    const OffsetPtr<> block = alloc->AllocateOffset(kCtx, 3 << 20);
    REQUIRE_FALSE(block.IsNull());
    const uint32_t granule =
        freer.GranuleOf(static_cast<uint32_t>(block.load() / Config::kPageBytes));
    const uint32_t granules = HeadWord::Granules(freer.Head(granule));
    bool is_left = false;
    has_come = RunWith(
        n, [&] { is_left = freer.LeaveFreed(granule); },
        [&] { sweeper.Relabel(granule, HeadWord::kLarge, 0); });
    REQUIRE(is_left);
    REQUIRE(HeadWord::IsFreed(freer.Head(granule)));
    REQUIRE(HeadWord::Granules(freer.Head(granule)) == granules);
    REQUIRE(alloc->GetCurrentlyAllocatedSize() == 0);  // who asks has the root
    REQUIRE(freer.Head(granule) == 0);
    ++rounds;
  }
  REQUIRE(rounds > 5);
  REQUIRE(alloc->Check());
}

TEST_CASE("Two handles that come at once have an entry of each thread's table each") {
  bool has_come = true;
  uint32_t rounds = 0;
  for (uint32_t n = 0; has_come; n += 3) {
    CAPTURE(n);
    CacheEntryLease one;
    CacheEntryLease other;
    uint64_t of_one = 0;
    uint64_t of_other = 0;
    has_come = RunWith(
        n, [&] { of_one = one.Take(); }, [&] { of_other = other.Take(); });
    if (has_come) REQUIRE(of_one != of_other);
    ++rounds;
  }
  REQUIRE(rounds > 5);
}

}  // namespace
}  // namespace hshm::test
