#include "hermes_shm/memory/allocator/stack_allocator.h"

#include <vector>

#include "allocator/limited_services.h"
#include "hermes_shm/base/error.h"
#include "hermes_shm/memory/backend/array_backend.h"
#include "support/catch.h"

using namespace hshm::ipc;  // NOLINT: a test of this namespace

namespace {

const MemContext kCtx = HSHM_DEFAULT_MEM_CTX;
constexpr uint64_t kRegionBytes = 1 << 20;

struct Stack {
  Stack() {
    backend_.shm_init(MemoryBackendId(1), kRegionBytes);
    alloc_ = backend_.MakeAlloc<StackAllocator>(AllocatorId(1, 0));
  }
  OffsetPtr<> Get(size_t size) { return alloc_->AllocateOffset(kCtx, size); }
  void Put(OffsetPtr<> block) { alloc_->FreeOffset(kCtx, block); }
  MallocBackend backend_;
  StackAllocator* alloc_;
};

StackHeader* HeaderOf(StackAllocator* alloc, const MallocBackend& backend) {
  const auto* common = alloc->GetRegion().At<AllocatorHeader>(backend.header()->allocator_offset_);
  return alloc->GetRegion().At<StackHeader>(common->core_offset_);
}

}  // namespace

TEST_CASE("StackAllocator lays blocks one behind the other, 16 bytes apart") {
  Stack s;
  const OffsetPtr<> a = s.Get(1);
  const OffsetPtr<> b = s.Get(100);
  const OffsetPtr<> c = s.Get(16);
  REQUIRE(b.load() == a.load() + 16 + 16);
  REQUIRE(c.load() == b.load() + 112 + 16);
  REQUIRE(s.alloc_->GetCurrentlyAllocatedSize() == 32 + 128 + 32);
}

TEST_CASE("StackAllocator gives the topmost block back at once") {
  Stack s;
  const OffsetPtr<> a = s.Get(100);
  const size_t before = s.alloc_->GetCurrentlyAllocatedSize();
  const OffsetPtr<> b = s.alloc_->AlignedAllocateOffset(kCtx, 100, 4096);
  s.Put(b);
  REQUIRE(s.alloc_->GetCurrentlyAllocatedSize() == before);  // the padding, too
  REQUIRE(s.Get(20).load() == a.load() + 112 + 16);
}

TEST_CASE("StackAllocator keeps a block freed in the middle until the last one is freed") {
  Stack s;
  const OffsetPtr<> a = s.Get(100);
  const OffsetPtr<> b = s.Get(100);
  const OffsetPtr<> c = s.Get(100);
  const size_t full = s.alloc_->GetCurrentlyAllocatedSize();
  s.Put(b);
  s.Put(a);
  REQUIRE(s.alloc_->GetCurrentlyAllocatedSize() == full);
  REQUIRE(s.alloc_->Check());
  s.Put(c);
  REQUIRE(s.alloc_->GetCurrentlyAllocatedSize() == 0);
  REQUIRE(s.Get(100) == a);
}

TEST_CASE("StackAllocator grows and shrinks the topmost block in place, and moves others") {
  Stack s;
  const OffsetPtr<> below = s.Get(100);
  const OffsetPtr<> top = s.Get(100);
  REQUIRE(s.alloc_->ReallocateOffset(kCtx, top, 5000) == top);
  REQUIRE(s.alloc_->GetCurrentlyAllocatedSize() == 128 + 16 + 5008);
  REQUIRE(s.alloc_->ReallocateOffset(kCtx, top, 10) == top);
  REQUIRE(s.alloc_->GetCurrentlyAllocatedSize() == 128 + 32);
  REQUIRE(s.alloc_->ReallocateOffset(kCtx, below, 50) == below);
  REQUIRE_FALSE(s.alloc_->ReallocateOffset(kCtx, below, 200) == below);
  REQUIRE(s.alloc_->Check());
}

TEST_CASE("StackAllocator commits upwards in steps, before it hands memory out") {
  LimitedRegion limited(64 << 20, 64 << 20);
  StackAllocator alloc;
  alloc.shm_init(AllocatorId(1, 0), 0, limited.region());
  REQUIRE(limited.committed_bytes() < 32 * 1024);
  const int before = limited.commits();
  uint64_t used = 0;
  for (OffsetPtr<> block; !(block = alloc.AllocateOffset(kCtx, 10000)).IsNull();) {
    REQUIRE(limited.IsCommitted(block.load() - 16, 16 + 10000));
    used += 10016;
    REQUIRE(limited.committed_bytes() <= 2 * used + (256 << 10));
  }
  REQUIRE(limited.commits() - before < 60);
  REQUIRE(used > 60 << 20);
}

TEST_CASE("StackAllocator uses the system's memory to the last page, then says null") {
  LimitedRegion limited(4 << 20, 300 << 10);
  StackAllocator alloc;
  alloc.shm_init(AllocatorId(1, 0), 0, limited.region());
  std::vector<OffsetPtr<>> blocks;
  for (OffsetPtr<> block; !(block = alloc.AllocateOffset(kCtx, 1000)).IsNull();) {
    REQUIRE(limited.IsCommitted(block.load() - 16, 16 + 1000));
    blocks.push_back(block);
  }
  REQUIRE(limited.committed_bytes() > 290 << 10);
  REQUIRE(alloc.ReallocateOffset(kCtx, blocks.back(), 10000).IsNull());
  REQUIRE(alloc.Check());
  limited.SetLimit(4 << 20);
  REQUIRE_FALSE(alloc.AllocateOffset(kCtx, 1000).IsNull());
}

TEST_CASE("StackAllocator says why it cannot be made") {
  MallocBackend backend;
  backend.shm_init(MemoryBackendId(1), kRegionBytes);
  LimitedRegion limited(kRegionBytes, 0);
  StackAllocator alloc;
  const auto code_for = [&](const Region& where) {
    try {
      alloc.shm_init(AllocatorId(1, 0), 0, where);
      return hshm::ErrorCode::kNone;
    } catch (const hshm::Error& error) {
      return error.code();
    }
  };
  REQUIRE(code_for(limited.region()) == hshm::ErrorCode::kNoSpace);
  REQUIRE_FALSE(alloc.IsAttached());
  REQUIRE(code_for(backend.region()) == hshm::ErrorCode::kNone);
  REQUIRE(code_for(backend.region()) == hshm::ErrorCode::kBackendInUse);
}

TEST_CASE("StackAllocator::Check finds a count or a top that cannot be") {
  const auto damaged = [](auto damage) {
    Stack s;
    (void)s.Get(100);
    s.Put(s.Get(100));
    (void)s.Get(40);
    REQUIRE(s.alloc_->Check());
    StackHeader* header = HeaderOf(s.alloc_, s.backend_);
    damage(header, s);
    return !s.alloc_->Check();
  };
  REQUIRE(damaged([](StackHeader* h, Stack&) { h->word_.fetch_sub(uint64_t{1} << 37); }));
  REQUIRE(damaged([](StackHeader* h, Stack&) { h->word_.fetch_add(1 << 20); }));
  REQUIRE(damaged([](StackHeader* h, Stack&) { h->word_.fetch_sub(1); }));
  REQUIRE(damaged([](StackHeader* h, Stack&) { h->committed_.store(h->bottom_); }));
  REQUIRE(damaged([](StackHeader* h, Stack&) { h->committed_.store(h->end_ + 4096); }));
  REQUIRE(damaged([](StackHeader* h, Stack&) {
    h->word_.store(StackWord{h->bottom_ - 16, 1}.Pack());
  }));
  // No block lives, and not everything is free.
  REQUIRE(damaged([](StackHeader* h, Stack& s) {
    *s.alloc_->GetRegion().At<uint64_t>(h->bottom_) = 0;  // of a call that was cut
    h->word_.store(StackWord{h->bottom_ + 64, 0}.Pack());
  }));
  // The first block reaches beyond the top.
  REQUIRE(damaged([](StackHeader* h, Stack& s) {
    s.alloc_->GetRegion().At<StackBlock>(h->bottom_)->SetBytes(h->bottom_, 1 << 16);
  }));
}

TEST_CASE("StackAllocator steps over the bytes of a call that was cut by a death") {
  Stack s;
  const OffsetPtr<> a = s.Get(100);
  StackHeader* header = HeaderOf(s.alloc_, s.backend_);
  header->word_.fetch_add((uint64_t{1} << 37) + 5);  // as after the CAS of a call for 64 bytes
  const OffsetPtr<> b = s.Get(100);
  REQUIRE(b.load() == a.load() + 112 + 80 + 16);
  REQUIRE(s.alloc_->Check());
  s.Put(b);
  s.Put(a);
  REQUIRE(s.alloc_->Check());
  REQUIRE(s.alloc_->GetCurrentlyAllocatedSize() == 128 + 80);  // the lost block keeps its place
}

TEST_CASE("StackAllocator::Check steps over what an earlier block has left in a cut call's bytes") {
  Stack s;
  const OffsetPtr<> a = s.Get(100);
  const OffsetPtr<> b = s.Get(32);
  const OffsetPtr<> c = s.Get(5000);
  s.Put(c);
  s.Put(b);
  StackHeader* header = HeaderOf(s.alloc_, s.backend_);
  // As after the CAS of a call that got bytes from b on, and beyond the header of c.
  header->word_.fetch_add((uint64_t{1} << 37) + 8);
  *s.alloc_->GetRegion().At<uint64_t>(b.load() - 16) = 0;  // somebody wrote over b's header
  REQUIRE(s.alloc_->Check());
  const OffsetPtr<> next = s.Get(100);
  REQUIRE(next.load() == a.load() + 112 + 8 * 16 + 16);
  REQUIRE(s.alloc_->Check());
}

TEST_CASE(
    "StackAllocator::Check steps over the longer block that was where a cut call's bytes are") {
  Stack s;
  const OffsetPtr<> a = s.Get(100);
  const OffsetPtr<> b = s.Get(5000);
  s.Put(b);
  StackHeader* header = HeaderOf(s.alloc_, s.backend_);
  header->word_.fetch_add((uint64_t{1} << 37) +
                          8);  // as after the CAS of a call; b's header stands
  REQUIRE(s.alloc_->Check());
  const OffsetPtr<> next = s.Get(100);
  REQUIRE(next.load() == a.load() + 112 + 8 * 16 + 16);
  REQUIRE(s.alloc_->Check());
  s.Put(next);
  REQUIRE(s.alloc_->Check());
}
