#ifndef HSHM_UNIT_TESTS_CONTRACT_SHARED_ARENA_CLAIMS_H_
#define HSHM_UNIT_TESTS_CONTRACT_SHARED_ARENA_CLAIMS_H_

#include "contract/arena_claims.h"

/** Arenas in a segment that other processes see. */
namespace {

TEST_CASE(HSHM_CONTRACT_NAME " shows an arena's blocks to all ranks through their own mappings") {
  SuiteFixture f(TestBackend::kShm);
  hshm::ipc::PosixShmMmap other;
  other.shm_attach(f.backend_.name());
  Alloc* there = other.AttachAlloc<Alloc>();
  const MemContext arena = f.alloc_->PushArena(kCtx, 1024);
  std::vector<OffsetPtr<>> blocks;
  for (uint32_t i = 0; i < 300; ++i) {
    blocks.push_back(f.alloc_->AllocateOffset(arena, i));
    FillPattern(static_cast<char*>(f.alloc_->Convert(blocks[i])), i, i);
  }
  for (uint32_t i = 0; i < 300; ++i) {
    REQUIRE(HasPattern(static_cast<char*>(there->Convert(blocks[i])), i, i, i));
  }
  REQUIRE_FALSE(there->HasArena(arena));  // but the arena is its pusher's
  RequireDefect("ClosedArena", [&] { (void)there->AllocateOffset(arena, 16); });
  REQUIRE(there->Check());
  f.alloc_->PopArena(arena);
  f.RequireAsNew();
}

TEST_CASE(HSHM_CONTRACT_NAME " leaves the parent's arenas alone in a forked child") {
  SuiteFixture f(TestBackend::kShm);
  const MemContext arena = f.alloc_->PushArena(kCtx, 1024);
  const auto first = f.alloc_->Allocate(arena, 100);
  FillPattern(first.ptr_, 100, 1);
  const auto answer = f.alloc_->template NewObj<uint64_t>(kCtx, 0u);
  const ChildResult result = InForkedChild([&] {
    uint64_t good = 0;
    good += f.alloc_->AllocateOffset(arena, 16).IsNull();
    good += f.alloc_->Reallocate(arena, first, 200).IsNull();
    good += HasPattern(first.ptr_, 100, 100, 1);
    f.alloc_->Free(arena, first);
    const MemContext own = f.alloc_->PushArena(arena, 1024);
    const auto block = f.alloc_->Allocate(own, 100);
    good += !block.IsNull() && block.shm_.off_.load() != first.shm_.off_.load();
    FillPattern(block.ptr_, 100, 2);
    f.alloc_->PopArena(arena);  // its own child goes, the parent's chunks stay
    good += !f.alloc_->HasArena(own);
    f.alloc_->shm_detach();
    *answer = good;
  });
  REQUIRE(result.status_ == 0);
  REQUIRE(*answer == 5);
  REQUIRE(HasPattern(first.ptr_, 100, 100, 1));
  const auto second = f.alloc_->Allocate(arena, 100);
  REQUIRE(second.shm_.off_.load() - first.shm_.off_.load() < 200);  // as if there was no child
  FillPattern(second.ptr_, 100, 3);
  REQUIRE(HasPattern(first.ptr_, 100, 100, 1));
  f.alloc_->PopArena(arena);
  f.alloc_->DelObj(kCtx, answer);
  f.RequireAsNew();
}

TEST_CASE(HSHM_CONTRACT_NAME " keeps the blocks of an arena whose process has died") {
  SuiteFixture f(TestBackend::kShm);
  const auto number = f.alloc_->template NewObj<uint64_t>(kCtx, 0u);
  const ChildResult result = InForkedChild([&] {
    const MemContext arena = f.alloc_->PushArena(kCtx, 1024);
    for (int i = 0; i < 50; ++i) {
      const auto block = f.alloc_->Allocate(arena, 100);
      FillPattern(block.ptr_, 100, 9);
      *number = block.shm_.off_.load();
    }
  });
  REQUIRE(result.status_ == 0);
  for (int i = 0; i < 200; ++i) {
    const auto block = f.alloc_->Allocate(kCtx, 1000);
    std::memset(block.ptr_, 0xff, 1000);
  }
  REQUIRE(f.alloc_->Check());
  REQUIRE(HasPattern(f.alloc_->template Convert<char>(OffsetPtr<char>(*number)), 100, 100, 9));
}

}  // namespace

#endif  // HSHM_UNIT_TESTS_CONTRACT_SHARED_ARENA_CLAIMS_H_
