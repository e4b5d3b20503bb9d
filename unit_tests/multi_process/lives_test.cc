#include <atomic>
#include <filesystem>
#include <ostream>
#include <thread>

#include "multi_process/heap.h"
#include "support/child_process.h"
#include "support/full_run.h"

/** Threads and processes that come and go by the thousand: whatever they had is back to the byte,
 * in the region and in the process that stays. */
namespace hshm::test {
namespace {

constexpr uint64_t kRegion = 256 << 20;
constexpr size_t kParcels = 16;
using Shared = SharedHeap<MultiProcessAllocator>;

/** What is in use; the same before and after. */
struct Footprint {
  uint64_t live_bytes_;
  uint64_t live_blocks_;
  uint64_t unit_bytes_;
  uint64_t largest_free_bytes_;
  size_t ranks_;
  size_t descriptors_;
  bool operator==(const Footprint&) const = default;
};

std::ostream& operator<<(std::ostream& out, const Footprint& f) {
  return out << f.live_bytes_ << " bytes in " << f.live_blocks_ << " blocks, units of "
             << f.unit_bytes_ << ", largest free " << f.largest_free_bytes_ << ", " << f.ranks_
             << " ranks, " << f.descriptors_ << " descriptors";
}

size_t EntriesOf(const char* folder) {
  size_t count = 0;
  for ([[maybe_unused]] const auto& entry : std::filesystem::directory_iterator(folder)) ++count;
  return count;
}

Footprint FootprintOf(MultiProcessAllocator* alloc) {
  alloc->Recover();
  alloc->Trim();
  const ipc::AllocatorStats stats = alloc->GetStats();
  REQUIRE(stats.live_bytes_ == alloc->GetCurrentlyAllocatedSize());
  Footprint found{stats.live_bytes_,         stats.live_blocks_,  0,
                  stats.largest_free_bytes_, stats.ranks_.size(), EntriesOf("/proc/self/fd")};
  for (const ipc::RankStats& rank : stats.ranks_) found.unit_bytes_ += rank.unit_bytes_;
  return found;
}

/** Blocks that change hands: who comes puts one where one was, and frees that. */
struct Exchange {
  std::atomic<uint64_t> parcels_[kParcels];
};

struct OwnBlocks {
  OffsetPtr<> blocks_[8];

  void Allocate(MultiProcessAllocator* alloc, uint64_t number) {
    for (uint64_t i = 0; i < 8; ++i) {
      const uint64_t size = (number * 7 + i) % 11 * 300 + (i == 5 ? 100000 : 0);
      blocks_[i] = alloc->AllocateOffset(kCtx, size);
    }
  }
  void Free(MultiProcessAllocator* alloc) {
    for (const OffsetPtr<> block : blocks_) alloc->FreeOffset(kCtx, block);
  }
};

/** What a life consists of: work of its own, and a parcel for somebody later. */
void Live(MultiProcessAllocator* alloc, Exchange* exchange, uint64_t number) {
  OwnBlocks own;
  own.Allocate(alloc, number);
  const OffsetPtr<> parcel = alloc->AllocateOffset(kCtx, 16 + number % 5 * 1000);
  const uint64_t old = exchange->parcels_[number % kParcels].exchange(parcel.load());
  if (old != 0) alloc->FreeOffset(kCtx, OffsetPtr<>(old));
  own.Free(alloc);
}

void FreeParcels(MultiProcessAllocator* alloc, Exchange* exchange) {
  for (auto& parcel : exchange->parcels_) {
    const uint64_t block = parcel.exchange(0);
    if (block != 0) alloc->FreeOffset(kCtx, OffsetPtr<>(block));
  }
}

TEST_CASE("Threads by the thousand, four at a time, leave live bytes and pages as they were") {
  Shared heap(kRegion);
  MultiProcessAllocator* alloc = heap.first();
  auto* exchange = alloc->NewObj<Exchange>(kCtx).ptr_;
  const auto live_through = [&](uint64_t threads) {
    for (uint64_t i = 0; i < threads; i += 4) {
      std::thread group[4];
      for (uint64_t j = 0; j < 4; ++j) {
        group[j] = std::thread([&, i, j] { Live(alloc, exchange, i + j); });
      }
      for (std::thread& thread : group) thread.join();
    }
    FreeParcels(alloc, exchange);
  };
  live_through(100);
  const Footprint before = FootprintOf(alloc);
  live_through(TimesOf(20000, 100000));
  REQUIRE(FootprintOf(alloc) == before);
  REQUIRE(alloc->Check());
}

enum class Ending { kDelete, kKeepLive, kDeath };

/** Joins the segment by its name, as a program would that was started for it. */
int JoinAndLeave(const std::string& name, uint64_t number, Ending ending) {
  ipc::PosixShmMmap backend;
  backend.shm_attach(name);
  auto* alloc = backend.AttachAlloc<MultiProcessAllocator>();
  if (ending == Ending::kDelete) {
    OwnBlocks().Allocate(alloc, number);
    alloc->shm_detach();
    return 0;
  }
  Live(alloc, alloc->FindRoot<Exchange>("exchange").ptr_, number);
  if (ending == Ending::kDeath) _exit(0);  // no destructor runs
  alloc->shm_detach(ipc::DetachMode::kKeepLive);
  return 0;
}

/** Two at a time; every other one is of each kind. */
void RequireThatNothingStays(Ending even, Ending odd) {
  Shared heap(kRegion);
  MultiProcessAllocator* alloc = heap.first();
  const FullPtr<Exchange> exchange = alloc->NewObj<Exchange>(kCtx);
  REQUIRE(alloc->SetRoot("exchange", exchange));
  const auto live_through = [&](uint64_t processes) {
    for (uint64_t i = 0; i < processes; i += 2) {
      ChildProcess one([&] { return JoinAndLeave(heap.name(), i, even); });
      ChildProcess other([&] { return JoinAndLeave(heap.name(), i + 1, odd); });
      if (one.Wait() != 0 || other.Wait() != 0) FAIL("process " << i);
    }
    FreeParcels(alloc, exchange.ptr_);
  };
  live_through(100);
  const Footprint before = FootprintOf(alloc);
  REQUIRE(before.live_blocks_ == 1);
  live_through(TimesOf(500, 10000));
  REQUIRE(FootprintOf(alloc) == before);
  REQUIRE(alloc->Check());
}

TEST_CASE(
    "Processes by the thousand that detach with all they have leave live bytes as they were") {
  RequireThatNothingStays(Ending::kDelete, Ending::kDelete);
}

TEST_CASE("Processes by the thousand that hand blocks on, or die, leave live bytes as they were") {
  RequireThatNothingStays(Ending::kKeepLive, Ending::kDeath);
}

}  // namespace
}  // namespace hshm::test
