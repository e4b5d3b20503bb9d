#ifndef HSHM_UNIT_TESTS_CONTRACT_ONE_PROCESS_CLAIMS_H_
#define HSHM_UNIT_TESTS_CONTRACT_ONE_PROCESS_CLAIMS_H_

#include "backend/error_code.h"
#include "contract/block_claims.h"

/** What processes may expect that can see a region in which only one of them may allocate. */
namespace {

TEST_CASE(HSHM_CONTRACT_NAME " refuses a second process at set-up, until the first has left") {
  SuiteFixture f(TestBackend::kShm);
  const OffsetPtr<> block = f.alloc_->AllocateOffset(kCtx, 100);
  FillPattern(static_cast<char*>(f.alloc_->Convert(block)), 100, 3);
  const auto attach_in_child = [&] {
    return InForkedChild([&] {
      hshm::ipc::PosixShmMmap backend;
      backend.shm_attach(f.backend_.name());
      const auto refused = hshm::ipc::test::ThrownBy([&] { (void)backend.AttachAlloc<Alloc>(); });
      if (refused.code_ == hshm::ErrorCode::kUnsupported && refused.Says("use a Multi")) _exit(1);
      if (refused.code_ != hshm::ErrorCode::kNone) _exit(2);
    });
  };
  const ChildResult refused = attach_in_child();
  REQUIRE(WEXITSTATUS(refused.status_) == 1);
  Alloc* second = f.backend_->template AttachAlloc<Alloc>();  // the same process
  f.backend_->DestroyAlloc(f.alloc_);
  REQUIRE(WEXITSTATUS(attach_in_child().status_) == 1);  // is still here
  f.backend_->DestroyAlloc(second);
  REQUIRE(attach_in_child().status_ == 0);
  Alloc* again = f.backend_->template AttachAlloc<Alloc>();  // the child is dead
  REQUIRE(HasPattern(static_cast<char*>(again->Convert(block)), 100, 100, 3));
  again->FreeOffset(kCtx, block);
  REQUIRE(again->Check());
  REQUIRE(again->GetCurrentlyAllocatedSize() == f.first_bytes_);
}

TEST_CASE(HSHM_CONTRACT_NAME " gives a forked child on shared memory nothing, but takes frees") {
  SuiteFixture f(TestBackend::kShm);
  const OffsetPtr<> small = f.alloc_->AllocateOffset(kCtx, 100);
  const OffsetPtr<> run = f.alloc_->AllocateOffset(kCtx, 200000);
  const ChildResult child = InForkedChild([&] {
    if (!f.alloc_->AllocateOffset(kCtx, 100).IsNull()) _exit(1);
    if (f.alloc_->CreateTls(kCtx).IsValid()) _exit(2);
    f.alloc_->FreeOffset(kCtx, small);
    f.alloc_->FreeOffset(kCtx, run);
  });
  REQUIRE(child.status_ == 0);
  f.RequireAsNew();
}

TEST_CASE(HSHM_CONTRACT_NAME " serves a forked child on its copy of private memory") {
  SuiteFixture f(TestBackend::kMalloc);
  const auto block = f.alloc_->Allocate(kCtx, 100);
  FillPattern(block.ptr_, 100, 5);
  const ChildResult child = InForkedChild([&] {
    f.alloc_->Free(kCtx, block);
    const auto mine = f.alloc_->Allocate(kCtx, 5000);
    if (mine.IsNull()) _exit(1);
    FillPattern(mine.ptr_, 5000, 6);
    if (!f.alloc_->Check()) _exit(2);
  });
  REQUIRE(child.status_ == 0);
  REQUIRE(HasPattern(block.ptr_, 100, 100, 5));
  f.alloc_->Free(kCtx, block);
  f.RequireAsNew();
}

}  // namespace

#endif  // HSHM_UNIT_TESTS_CONTRACT_ONE_PROCESS_CLAIMS_H_
