#include "hermes_shm/memory/allocator/buddy_allocator.h"

#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <cstring>
#include <string>
#include <vector>

#include "allocator/limited_services.h"
#include "hermes_shm/base/error.h"
#include "hermes_shm/memory/backend/array_backend.h"
#include "hermes_shm/memory/backend/posix_shm_mmap.h"
#include "support/catch.h"
#include "support/child_process.h"

using namespace hshm::ipc;  // NOLINT: a test of this namespace

namespace {

const MemContext kCtx = HSHM_DEFAULT_MEM_CTX;

BuddyHeader* HeaderOf(BuddyAllocator* alloc, const MemoryBackend& backend) {
  const auto* common = alloc->GetRegion().At<AllocatorHeader>(backend.header()->allocator_offset_);
  return alloc->GetRegion().At<BuddyHeader>(common->core_offset_);
}

struct Buddy {
  explicit Buddy(uint64_t region_bytes = 1 << 20) {
    backend_.shm_init(MemoryBackendId(1), region_bytes);
    alloc_ = backend_.MakeAlloc<BuddyAllocator>(AllocatorId(1, 0));
  }
  OffsetPtr<> Get(size_t size) { return alloc_->AllocateOffset(kCtx, size); }
  void Put(OffsetPtr<> block) { alloc_->FreeOffset(kCtx, block); }
  MallocBackend backend_;
  BuddyAllocator* alloc_;
};

}  // namespace

TEST_CASE("BuddyAllocator merges buddies when both are free") {
  Buddy b;
  std::vector<OffsetPtr<>> blocks;
  for (OffsetPtr<> block; !(block = b.Get(64)).IsNull();) blocks.push_back(block);
  for (size_t i = 0; i < blocks.size(); i += 2) b.Put(blocks[i]);
  REQUIRE(b.Get(128).IsNull());
  for (size_t i = 1; i < blocks.size(); i += 2) b.Put(blocks[i]);
  const OffsetPtr<> all = b.Get(blocks.size() * 64);
  REQUIRE_FALSE(all.IsNull());
  b.Put(all);
  REQUIRE(b.alloc_->Check());
}

TEST_CASE("BuddyAllocator charges whole granules and not a power of two") {
  Buddy b;
  const OffsetPtr<> block = b.Get(5 * 64 - 3);
  REQUIRE(b.alloc_->GetCurrentlyAllocatedSize() == 5 * 64);
  b.Put(block);
  REQUIRE(b.alloc_->GetCurrentlyAllocatedSize() == 0);
}

TEST_CASE("BuddyAllocator leaves five sixths of a region to blocks of 64 bytes") {
  Buddy b(16 << 20);
  uint64_t bytes = 0;
  while (!b.Get(64).IsNull()) bytes += 64;
  const uint64_t data = (16 << 20) - b.backend_.header()->allocator_offset_;
  REQUIRE(bytes >= data * 5 / 6);
}

TEST_CASE("BuddyAllocator grows a block in place when the granules behind it are free") {
  Buddy b;
  const OffsetPtr<> block = b.Get(64);
  const OffsetPtr<> next = b.Get(64);
  const OffsetPtr<> wall = b.Get(64);
  REQUIRE(next.load() == block.load() + 64);
  REQUIRE_FALSE(b.alloc_->ReallocateOffset(kCtx, wall, 300000).IsNull());  // beyond the frontier
  b.Put(next);
  REQUIRE(b.alloc_->ReallocateOffset(kCtx, block, 128) == block);
  REQUIRE(b.alloc_->ReallocateOffset(kCtx, block, 10) == block);
  REQUIRE(b.alloc_->Check());
  REQUIRE(b.Get(64) == next);
}

TEST_CASE("BuddyAllocator commits upwards in steps, before it hands memory out") {
  LimitedRegion limited(64 << 20, 64 << 20);
  BuddyAllocator alloc;
  alloc.shm_init(AllocatorId(1, 0), 0, limited.region());
  REQUIRE(limited.committed_bytes() < 32 * 1024);
  const int before = limited.commits();
  uint64_t used = 0;
  for (OffsetPtr<> block; !(block = alloc.AllocateOffset(kCtx, 10000)).IsNull();) {
    REQUIRE(limited.IsCommitted(block.load(), 10000));
    used += 10000;
    REQUIRE(limited.committed_bytes() <= 3 * used + (256 << 10));
  }
  REQUIRE(limited.commits() - before < 100);
  REQUIRE(used > 50 << 20);
}

TEST_CASE("BuddyAllocator says null when the system has no more, and goes on when it has") {
  LimitedRegion limited(4 << 20, 300 << 10);
  BuddyAllocator alloc;
  alloc.shm_init(AllocatorId(1, 0), 0, limited.region());
  std::vector<OffsetPtr<>> blocks;
  for (OffsetPtr<> block; !(block = alloc.AllocateOffset(kCtx, 1000)).IsNull();) {
    REQUIRE(limited.IsCommitted(block.load(), 1000));
    blocks.push_back(block);
  }
  REQUIRE(blocks.size() * 1000 > 150 << 10);
  REQUIRE(alloc.ReallocateOffset(kCtx, blocks.back(), 100000).IsNull());
  REQUIRE(alloc.Check());
  limited.SetLimit(4 << 20);
  REQUIRE_FALSE(alloc.AllocateOffset(kCtx, 1000).IsNull());
}

TEST_CASE("BuddyAllocator makes its lists anew after a holder of the lock has died") {
  struct Unlinked : PosixShmMmap {
    ~Unlinked() { shm_destroy(); }
  } backend;
  backend.shm_init(MemoryBackendId(1), 1 << 20, "hshm-buddy-test-" + std::to_string(getpid()));
  BuddyAllocator* alloc = backend.MakeAlloc<BuddyAllocator>(AllocatorId(1, 0));
  std::vector<OffsetPtr<>> blocks;
  for (size_t size : {100, 5000, 64, 700, 64, 30000}) {
    blocks.push_back(alloc->AllocateOffset(kCtx, size));
    std::memset(alloc->Convert(blocks.back()), 0x11, size);
  }
  alloc->FreeOffset(kCtx, blocks[1]);
  alloc->FreeOffset(kCtx, blocks[3]);
  const size_t before = alloc->GetCurrentlyAllocatedSize();
  const pid_t child = fork();
  REQUIRE(child >= 0);
  if (child == 0) {  // ruins the caches, then stops inside with the lock held
    std::signal(SIGABRT, SIG_DFL);
    const rlimit no_core{0, 0};
    setrlimit(RLIMIT_CORE, &no_core);
    BuddyHeader* header = HeaderOf(alloc, backend);
    std::memset(&header->lists_, 0x5a, sizeof(header->lists_));
    alloc->FreeOffset(kCtx, OffsetPtr<>(blocks[0].load() + 16));
    _exit(0);
  }
  int status = 0;
  REQUIRE(waitpid(child, &status, 0) == child);
  REQUIRE(WIFSIGNALED(status));
  REQUIRE(alloc->GetCurrentlyAllocatedSize() == before);
  REQUIRE(alloc->Check());
  REQUIRE_FALSE(alloc->AllocateOffset(kCtx, 5000).IsNull());
  REQUIRE(alloc->Check());
}

TEST_CASE("BuddyAllocator::Check finds marks and lists that contradict each other") {
  const auto damaged = [](auto damage) {
    Buddy b;
    const OffsetPtr<> block = b.Get(640);
    b.Put(b.Get(64));
    REQUIRE(b.alloc_->Check());
    BuddyHeader* header = HeaderOf(b.alloc_, b.backend_);
    const auto granule = static_cast<uint32_t>(block.load() / 64) - header->first_;
    auto* nodes = b.alloc_->GetRegion().At<BuddyNode>(header->nodes_offset_);
    damage(header, nodes + granule);
    return !b.alloc_->Check();
  };
  REQUIRE(damaged([](BuddyHeader*, BuddyNode* n) { n->mark_.store(0); }));
  REQUIRE(damaged([](BuddyHeader*, BuddyNode* n) { n->mark_.store(kBuddyUserMark | 9); }));
  REQUIRE(damaged([](BuddyHeader*, BuddyNode* n) { n->mark_.store(kBuddyUserMark | 11); }));
  REQUIRE(damaged([](BuddyHeader*, BuddyNode* n) { n[3].mark_.store(kBuddyUserMark | 1); }));
  REQUIRE(damaged([](BuddyHeader* h, BuddyNode*) { ++h->lists_.free_granules_; }));
  REQUIRE(damaged([](BuddyHeader* h, BuddyNode*) { h->frontier_ = h->end_ + 1; }));
  REQUIRE(damaged([](BuddyHeader* h, BuddyNode*) { h->frontier_ = h->first_ - 1; }));
  REQUIRE(damaged([](BuddyHeader*, BuddyNode* n) { n->mark_.store(kBuddyUserMark | 1 << 20); }));
}

TEST_CASE("BuddyAllocator's statistics end whatever the marks say") {
  Buddy b;
  const OffsetPtr<> block = b.Get(640);
  BuddyHeader* header = HeaderOf(b.alloc_, b.backend_);
  const auto granule = static_cast<uint32_t>(block.load() / 64) - header->first_;
  auto* nodes = b.alloc_->GetRegion().At<BuddyNode>(header->nodes_offset_);
  REQUIRE(b.alloc_->GetStats().live_blocks_ == 1);
  nodes[granule].mark_.store(0);  // nobody's, and in no list
  const AllocatorStats stats = b.alloc_->GetStats();
  REQUIRE(stats.live_blocks_ == 0);
  REQUIRE(stats.largest_free_bytes_ <= stats.capacity_bytes_);
}

TEST_CASE("BuddyAllocator makes no lists from a mark that leads out of its region") {
  Buddy b;
  const OffsetPtr<> block = b.Get(640);
  const auto ending = hshm::test::RunInChild([&] {
    BuddyHeader* header = HeaderOf(b.alloc_, b.backend_);
    const auto granule = static_cast<uint32_t>(block.load() / 64) - header->first_;
    auto* nodes = b.alloc_->GetRegion().At<BuddyNode>(header->nodes_offset_);
    nodes[granule].mark_.store(kBuddyUserMark | 1 << 20);
    Membership dead(b.backend_.region());
    static_cast<void>(header->lock_.Lock(dead.identity(), 0));
    dead.Leave();
    static_cast<void>(b.Get(64));  // it has to repair
  });
  REQUIRE(ending.status_ == -SIGABRT);
  REQUIRE(ending.errors_.find("Corruption: a block's mark") != std::string::npos);
}

TEST_CASE("BuddyAllocator refuses a header that does not fit its region") {
  alignas(64) static char array[256 * 1024];
  ArrayBackend creator;
  creator.shm_init(MemoryBackendId(1), sizeof(array), array);
  BuddyAllocator* alloc = creator.MakeAlloc<BuddyAllocator>(AllocatorId(1, 0));
  HeaderOf(alloc, creator)->end_ += 1;
  try {
    creator.AttachAlloc<BuddyAllocator>();
    FAIL("attached");
  } catch (const hshm::Error& error) {
    REQUIRE(error.code() == hshm::ErrorCode::kCorrupt);
  }
}
