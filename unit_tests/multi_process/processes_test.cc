#include <atomic>
#include <chrono>
#include <csignal>
#include <thread>
#include <vector>

#include "multi_process/heap.h"
#include "support/child_process.h"

/** Forked children, processes that die, and what the living do about it. */
namespace hshm::test {
namespace {

constexpr uint64_t kRegion = 64 << 20;  // a wide page for each large size, twice
using Shared = SharedHeap<MultiProcessAllocator>;

/** What a child leaves for its parent, in a block of the parent's. */
struct Report {
  std::atomic<uint64_t> blocks_[64];
  std::atomic<uint32_t> slot_;
  std::atomic<uint32_t> generation_;
  std::atomic<uint32_t> is_ready_;
};

Report* NewReport(MultiProcessAllocator* alloc) { return alloc->NewObj<Report>(kCtx).ptr_; }

/** Allocates blocks of i * 1000 bytes into the report, and says who it is. */
void FillReport(MultiProcessAllocator* alloc, Report* report, uint64_t owner) {
  for (uint64_t i = 0; i < 64; ++i) {
    const OffsetPtr<> block = alloc->AllocateOffset(kCtx, i * 1000);
    FillPattern(BytesOf(alloc, block), i * 1000, owner + i);
    report->blocks_[i] = block.load();
  }
  report->slot_ = alloc->GetMembership().slot();
  report->generation_ = alloc->GetMembership().generation();
  report->is_ready_ = 1;
}
bool AreWhole(MultiProcessAllocator* alloc, const Report* report, uint64_t owner) {
  for (uint64_t i = 0; i < 64; ++i) {
    const OffsetPtr<> block(report->blocks_[i].load());
    if (!HasPattern(BytesOf(alloc, block), i * 1000, i * 1000, owner + i)) return false;
  }
  return true;
}
void FreeReported(MultiProcessAllocator* alloc, const Report* report) {
  for (const auto& block : report->blocks_) alloc->FreeOffset(kCtx, OffsetPtr<>(block.load()));
}

/** A child with a slot of its own that has filled the report, and dies by SIGKILL. */
void RunKilledChild(MultiProcessAllocator* alloc, Report* report, uint64_t owner) {
  ChildProcess child([=] {
    FillReport(alloc, report, owner);
    raise(SIGKILL);
    return 0;
  });
  REQUIRE(child.Wait() == -SIGKILL);
  REQUIRE(report->is_ready_.load() == 1);
}

TEST_CASE("A forked child works in a slot of its own and leaves the parent's blocks alone") {
  Shared heap(kRegion);
  MultiProcessAllocator* alloc = heap.first();
  Report* mine = NewReport(alloc);
  Report* its = NewReport(alloc);
  const uint64_t at_first = alloc->GetCurrentlyAllocatedSize();
  FillReport(alloc, mine, 5);
  RunKilledChild(alloc, its, 500);
  REQUIRE(its->slot_.load() != mine->slot_.load());
  REQUIRE(AreWhole(alloc, mine, 5));
  REQUIRE(AreWhole(alloc, its, 500));
  FreeReported(alloc, mine);
  FreeReported(alloc, its);
  REQUIRE(alloc->Recover() <= 1);
  REQUIRE(alloc->GetCurrentlyAllocatedSize() == at_first);
  REQUIRE(alloc->Check());
}

TEST_CASE("A forked child frees, resizes and deletes blocks of its parent") {
  Shared heap(kRegion);
  MultiProcessAllocator* alloc = heap.first();
  Report* report = NewReport(alloc);
  const uint64_t at_first = alloc->GetCurrentlyAllocatedSize();
  FillReport(alloc, report, 1);
  ChildProcess child([=] {
    for (uint64_t i = 0; i < 64; ++i) {
      const OffsetPtr<> block(report->blocks_[i].load());
      if (i % 2 == 0) {
        alloc->FreeOffset(kCtx, block);
        report->blocks_[i] = 0;
      } else {
        report->blocks_[i] = alloc->ReallocateOffset(kCtx, block, 3000 * i).load();
      }
    }
    alloc->shm_detach(ipc::DetachMode::kKeepLive);
    return 0;
  });
  REQUIRE(child.Wait() == 0);
  for (uint64_t i = 1; i < 64; i += 2) {
    const OffsetPtr<> block(report->blocks_[i].load());
    REQUIRE_FALSE(block.IsNull());
    REQUIRE(HasPattern(BytesOf(alloc, block), i * 1000, i * 1000 - 32, 1 + i));
    alloc->FreeOffset(kCtx, block);
  }
  REQUIRE(alloc->GetCurrentlyAllocatedSize() == at_first);
  REQUIRE(alloc->Check());
}

/** Threads whose first calls meet, some with a context of the parent's. What went wrong, or 0. */
int AllocateAtOnce(MultiProcessAllocator* alloc, const MemContext& parents) {
  constexpr uint32_t kThreads = 4;
  std::atomic<uint32_t> ready{0};
  std::atomic<int> wrong{0};
  std::vector<std::thread> threads;
  for (uint32_t i = 0; i < kThreads; ++i) {
    threads.emplace_back([&, i] {
      ++ready;
      while (ready != kThreads) {}
      const MemContext context = i % 2 == 0 ? parents : kCtx;
      const OffsetPtr<> block = alloc->AllocateOffset(context, 1000);
      if (block.IsNull()) {
        wrong = 1;
        return;
      }
      FillPattern(BytesOf(alloc, block), 1000, i);
      if (alloc->GetMembership().slot() == parents.pid_) wrong = 2;
      if (!HasPattern(BytesOf(alloc, block), 1000, 1000, i)) wrong = 3;
      alloc->FreeOffset(context, block);
    });
  }
  for (std::thread& thread : threads) thread.join();
  return wrong;
}

TEST_CASE(
    "Threads of a forked child whose first calls meet join once, and all of them are served") {
  Shared heap(kRegion);
  MultiProcessAllocator* alloc = heap.first();
  const MemContext mine = alloc->CreateTls(kCtx);
  for (int round = 0; round < 20; ++round) {
    ChildProcess child([&] {
      if (const int wrong = AllocateAtOnce(alloc, mine); wrong != 0) return wrong;
      alloc->shm_detach();
      return 0;
    });
    REQUIRE(child.Wait() == 0);
  }
  REQUIRE(alloc->Check());
}

/** In the child of a process that is dead since: what its threads get. 1: heaps of their own. */
int CallAsHeir(MultiProcessAllocator* alloc, const MemContext& parents) {
  MemContext of_thread;
  MemContext mine;
  std::atomic<bool> is_known{false};
  std::thread thread([&] {
    of_thread = alloc->CreateTls(kCtx);
    is_known = true;
    while (is_known) {}  // it keeps its heap
  });
  while (!is_known) {}
  mine = alloc->CreateTls(parents);
  is_known = false;
  thread.join();
  if (alloc->GetMembership().slot() != parents.pid_) return 2;
  return of_thread.IsValid() && mine.IsValid() && of_thread.tid_ != mine.tid_ ? 1 : 3;
}

TEST_CASE("A context of a dead parent's names no heap of the child that has its slot") {
  Shared heap(kRegion);
  MultiProcessAllocator* alloc = heap.first();
  auto* result = alloc->NewObj<std::atomic<int>>(kCtx, 0).ptr_;
  ChildProcess parent([&] {
    const MemContext mine = alloc->CreateTls(kCtx);
    const pid_t pid = getpid();
    if (fork() != 0) return mine.tid_ == 0 ? 0 : 1;
    while (getppid() == pid) sched_yield();
    *result = CallAsHeir(alloc, mine);
    return 0;
  });
  REQUIRE(parent.Wait() == 0);
  const auto start = std::chrono::steady_clock::now();
  while (*result == 0 && std::chrono::steady_clock::now() - start < std::chrono::seconds(20)) {
    sched_yield();
  }
  REQUIRE(*result == 1);
}

TEST_CASE("A forked child that makes no call, or only leaves, disturbs nothing") {
  Shared heap(kRegion);
  MultiProcessAllocator* alloc = heap.first();
  Report* report = NewReport(alloc);
  FillReport(alloc, report, 9);
  const uint64_t before = alloc->GetCurrentlyAllocatedSize();
  SECTION("no call") {
    ChildProcess child([] { return 0; });
    REQUIRE(child.Wait() == 0);
  }
  SECTION("shm_detach at once") {
    ChildProcess child([=] {
      alloc->shm_detach();
      return 0;
    });
    REQUIRE(child.Wait() == 0);
  }
  SECTION("a root by name, then shm_detach") {
    ChildProcess child([=] {
      alloc->SetRoot("report", OffsetPtr<>(report->blocks_[3].load()));
      alloc->shm_detach();
      return 0;
    });
    REQUIRE(child.Wait() == 0);
    REQUIRE(alloc->FindRootOffset("report").load() == report->blocks_[3].load());
  }
  SECTION("a root by name, then the end of the handle") {
    ChildProcess child([&] {
      alloc->SetRoot("report", OffsetPtr<>(report->blocks_[3].load()));
      heap.Destroy(alloc);
      return 0;
    });
    REQUIRE(child.Wait() == 0);
  }
  REQUIRE(alloc->GetCurrentlyAllocatedSize() == before);
  REQUIRE(AreWhole(alloc, report, 9));
  FreeReported(alloc, report);
  const OffsetPtr<> block = alloc->AllocateOffset(kCtx, 100);
  REQUIRE_FALSE(block.IsNull());
  REQUIRE(alloc->Check());
}

TEST_CASE("A forked child that finds no room gets null, frees, and has room afterwards") {
  MultiProcessOptions options;
  options.process_unit_bytes_ = 1 << 20;
  SharedHeap<SmallMultiProcessAllocator> heap(4 << 20, options);
  SmallMultiProcessAllocator* alloc = heap.first();
  const OffsetPtr<> large = alloc->AllocateOffset(kCtx, 1300000);
  const auto blocks = FillUp(alloc, {4096, 100});
  ChildProcess child([=] {
    for (int i = 0; i < 100; ++i) {
      if (!alloc->AllocateOffset(kCtx, 100).IsNull()) return 1;
    }
    for (size_t i = 0; i < 50; ++i) alloc->FreeOffset(kCtx, blocks[i]);
    alloc->FreeOffset(kCtx, large);
    const OffsetPtr<> block = alloc->AllocateOffset(kCtx, 100);
    if (block.IsNull()) return 2;
    alloc->shm_detach();
    return 0;
  });
  REQUIRE(child.Wait() == 0);
  for (size_t i = 50; i < blocks.size(); ++i) alloc->FreeOffset(kCtx, blocks[i]);
  REQUIRE(alloc->GetCurrentlyAllocatedSize() == 0);
  REQUIRE(alloc->Check());
}

TEST_CASE("Blocks of a killed process stay until they are freed, and then are all back") {
  Shared heap(kRegion);
  MultiProcessAllocator* alloc = heap.first();
  Report* report = NewReport(alloc);
  const uint64_t at_first = alloc->GetCurrentlyAllocatedSize();
  SECTION("freed before they are adopted") {
    RunKilledChild(alloc, report, 7);
    FreeReported(alloc, report);
    REQUIRE(alloc->Recover() == 1);
  }
  SECTION("freed after they are adopted") {
    RunKilledChild(alloc, report, 7);
    REQUIRE(alloc->Recover() == 1);
    REQUIRE(alloc->Check());
    REQUIRE(AreWhole(alloc, report, 7));
    FreeReported(alloc, report);
  }
  REQUIRE(alloc->Recover() == 0);
  REQUIRE(alloc->GetCurrentlyAllocatedSize() == at_first);
  REQUIRE(alloc->Check());
}

TEST_CASE("A rank has the room of a killed one without asking for it") {
  Shared heap(kRegion);
  MultiProcessAllocator* alloc = heap.first();
  const uint64_t size = GENERATE(16, 1024, 40 << 10, 100 << 10);
  CAPTURE(size);
  const auto blocks = FillUp(alloc, {size});
  FreeAll(alloc, blocks);
  alloc->Trim();
  auto* count = alloc->NewObj<std::atomic<uint64_t>>(kCtx, 0u).ptr_;
  ChildProcess child([=] {
    count->store(FillUp(alloc, {size}).size());  // nobody knows these any more: only on_death can
    alloc->shm_detach(ipc::DetachMode::kDelete);
    return 0;
  });
  REQUIRE(child.Wait() == 0);
  REQUIRE(count->load() * 10 >= blocks.size() * 9);
  REQUIRE(FillUp(alloc, {size}).size() * 10 >= blocks.size() * 9);
  REQUIRE(alloc->Check());
}

TEST_CASE("Reclaim deletes the blocks of a dead process, once, and never those of a living one") {
  Shared heap(kRegion);
  MultiProcessAllocator* alloc = heap.first();
  Report* report = NewReport(alloc);
  const uint64_t at_first = alloc->GetCurrentlyAllocatedSize();
  REQUIRE_FALSE(alloc->Reclaim(alloc->GetMembership().slot(), alloc->GetMembership().generation()));
  REQUIRE_FALSE(alloc->Reclaim(4095, 1));
  REQUIRE_FALSE(alloc->Reclaim(1u << 20, 1));
  RunKilledChild(alloc, report, 7);
  const uint32_t slot = report->slot_.load();
  const uint32_t generation = report->generation_.load();
  REQUIRE_FALSE(alloc->Reclaim(slot, generation + 1));
  SECTION("before anybody has adopted them") {
    REQUIRE(alloc->Reclaim(slot, generation));
    REQUIRE(alloc->GetCurrentlyAllocatedSize() == at_first);
    REQUIRE_FALSE(alloc->Reclaim(slot, generation));
  }
  SECTION("not after they were adopted") {
    REQUIRE(alloc->Recover() == 1);
    REQUIRE_FALSE(alloc->Reclaim(slot, generation));
    REQUIRE(AreWhole(alloc, report, 7));
    FreeReported(alloc, report);
    REQUIRE(alloc->GetCurrentlyAllocatedSize() == at_first);
  }
  REQUIRE(alloc->Check());
}

TEST_CASE("A process that attached with on_death kReclaim leaves nothing when it is killed") {
  Shared heap(kRegion);
  MultiProcessAllocator* alloc = heap.first();
  Report* report = NewReport(alloc);
  const uint64_t at_first = alloc->GetCurrentlyAllocatedSize();
  ChildProcess child([&] {
    MultiProcessOptions options;
    options.on_death_ = ipc::OnDeath::kReclaim;
    options.process_unit_bytes_ = 1 << 20;
    MultiProcessAllocator* own = heap.Attach(options);
    FillReport(own, report, 3);
    (void)own->AllocateOffset(kCtx, 3 << 20);  // a large block goes too
    raise(SIGKILL);
    return 0;
  });
  REQUIRE(child.Wait() == -SIGKILL);
  REQUIRE(alloc->Recover() == 1);
  REQUIRE(alloc->GetCurrentlyAllocatedSize() == at_first);
  REQUIRE(alloc->Check());
}

TEST_CASE("Names of blocks go with them when their process's are deleted, and others stay") {
  Shared heap(kRegion);
  MultiProcessAllocator* alloc = heap.first();
  const auto mine = alloc->NewObj<int>(kCtx, 5);
  REQUIRE(alloc->SetRoot("mine", mine));
  const int way = GENERATE(0, 1, 2);  // it detaches, dies, or is reclaimed after its death
  CAPTURE(way);
  ChildProcess child([&] {
    MultiProcessOptions options;
    options.process_unit_bytes_ = 1 << 20;
    if (way == 1) options.on_death_ = ipc::OnDeath::kReclaim;
    MultiProcessAllocator* own = heap.Attach(options);
    own->SetRoot("small", own->NewObj<int>(kCtx, 7));
    own->SetRoot("inside", OffsetPtr<>(own->AllocateOffset(kCtx, 50'000).load() + 40'000));
    own->SetRoot("large", own->Allocate(kCtx, 3 << 20));  // not of a unit
    own->SetRoot("of the other", mine);
    if (way == 0) own->shm_detach();
    raise(SIGKILL);
    return 0;
  });
  const uint32_t slot = alloc->GetMembership().slot() + 1;
  REQUIRE(child.Wait() == -SIGKILL);
  if (way == 2) {
    REQUIRE(alloc->Reclaim(slot, alloc->GetMembership().entry(slot)->generation_.load()));
  } else {
    REQUIRE(alloc->Recover() == (way == 0 ? 0u : 1u));
  }
  for (const char* name : {"small", "inside", "large"}) {
    CAPTURE(name);
    REQUIRE(alloc->FindRoot<char>(name).IsNull());
    REQUIRE(alloc->SetRoot(name, mine));  // the entry can be had again
  }
  REQUIRE(alloc->FindRoot<int>("mine") == mine);
  REQUIRE(alloc->FindRoot<int>("of the other") == mine);
  REQUIRE(alloc->Check());
}

TEST_CASE("shm_detach deletes a process's own blocks and keeps those it adopted") {
  Shared heap(kRegion);
  MultiProcessAllocator* keeper = heap.first();
  Report* report = NewReport(keeper);
  RunKilledChild(keeper, report, 7);
  const uint64_t with_dead = keeper->GetCurrentlyAllocatedSize();
  MultiProcessAllocator* adopter = heap.Attach();  // joining adopts
  REQUIRE(keeper->Recover() == 0);
  const auto own = FillUp(adopter, {3000});
  REQUIRE(own.size() > 1000);
  adopter->shm_detach();
  // What shares a page with an adopted block stays: at most a page of each class.
  REQUIRE(keeper->GetCurrentlyAllocatedSize() <= with_dead + (64 << 10));
  REQUIRE(AreWhole(keeper, report, 7));
  FreeReported(keeper, report);
  REQUIRE(keeper->Check());
}

TEST_CASE("A process joins a region that another has in its hands, free but for its heap") {
  PrivateHeap<MultiProcessAllocator> heap(kRegion);
  const auto blocks = FillUp(heap.first(), {1024});
  for (size_t i = 1; i < blocks.size(); ++i) heap.first()->FreeOffset(kCtx, blocks[i]);
  MultiProcessAllocator* late = heap.Attach();
  REQUIRE(FillUp(late, {1024}).size() * 10 >= blocks.size() * 9);
  REQUIRE(late->Check());
}

}  // namespace
}  // namespace hshm::test
