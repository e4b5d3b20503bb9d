#ifndef HSHM_UNIT_TESTS_CONTRACT_SHARED_MISUSE_CLAIMS_H_
#define HSHM_UNIT_TESTS_CONTRACT_SHARED_MISUSE_CLAIMS_H_

#include <array>

#include "contract/shared_claims.h"

/** Rules that another process breaks than the one that allocated, or than the one that freed. */
namespace {

/** Runs the action in a child that has a mapping and a handle of its own. */
template <typename Action>
ChildResult InOtherProcess(SuiteFixture& f, Action action) {
  return InForkedChild([&] {
    hshm::ipc::PosixShmMmap mine;
    mine.shm_attach(f.backend_.name());
    action(*mine.template AttachAlloc<Alloc>());
  });
}

/** Once in a process of its own, and once in a child that goes on with its parent's handle. */
template <typename Action>
void RequireDefectElsewhere(const std::string& defect, SuiteFixture& f, Action action) {
  const ChildResult result = InOtherProcess(f, action);
  CAPTURE(defect, result.stderr_);
  REQUIRE(result.Aborted());
  REQUIRE(result.stderr_.find("hshm: " + defect + ": ") != std::string::npos);
  RequireDefect(defect, [&] { action(*f.alloc_); });
}

void RequireFreeElsewhereIs(const std::string& defect, SuiteFixture& f, OffsetPtr<> block) {
  RequireDefectElsewhere(defect, f, [&](Alloc& alloc) { alloc.FreeOffset(kCtx, block); });
  RequireDefectElsewhere(defect, f,
                         [&](Alloc& alloc) { (void)alloc.ReallocateOffset(kCtx, block, 5); });
}

void RequireNoPartIsFreedElsewhere(SuiteFixture& f, OffsetPtr<> block) {
  for (const Offset inside : {8, 16, 299}) {
    CAPTURE(inside);
    RequireFreeElsewhereIs("InvalidFree", f, OffsetPtr<>(block.load() + inside));
  }
}

TEST_CASE(HSHM_CONTRACT_NAME " finds double frees and pointers into blocks between processes") {
  if (!Traits::kFindsMisuse) return;
  SuiteFixture f(TestBackend::kShm);
  Alloc& alloc = *f.alloc_;
  std::array<OffsetPtr<>, 3> blocks;
  for (OffsetPtr<>& block : blocks) {
    block = alloc.AllocateOffset(kCtx, 300);
    std::memset(alloc.Convert(block), 0, 300);
  }
  RequireNoPartIsFreedElsewhere(f, blocks[1]);
  alloc.FreeOffset(kCtx, blocks[1]);  // freed here, then there
  RequireFreeElsewhereIs("DoubleFree", f, blocks[1]);
  const ChildResult freed =
      InOtherProcess(f, [&](Alloc& theirs) { theirs.FreeOffset(kCtx, blocks[2]); });
  REQUIRE(freed.status_ == 0);  // freed there, then here and in a third process
  RequireFreeElsewhereIs("DoubleFree", f, blocks[2]);
  // The first block stayed until here: a page without blocks may go back, and has none to free.
  alloc.FreeOffset(kCtx, blocks[0]);
  f.RequireAsNew();
}

TEST_CASE(HSHM_CONTRACT_NAME " finds them when the process that freed, or allocated, was killed") {
  if (!Traits::kFindsMisuse) return;
  SuiteFixture f(TestBackend::kShm);
  Alloc& alloc = *f.alloc_;
  const auto theirs = alloc.template NewObj<uint64_t>(kCtx, 0u);
  const OffsetPtr<> block = alloc.AllocateOffset(kCtx, 300);
  const OffsetPtr<> beside = alloc.AllocateOffset(kCtx, 300);  // keeps the page of it
  const OffsetPtr<> beside_theirs = alloc.AllocateOffset(kCtx, 3000);
  const ChildResult killed = InOtherProcess(f, [&](Alloc& mine) {
    const OffsetPtr<> left = mine.AllocateOffset(kCtx, 3000);
    std::memset(mine.Convert(left), 0, 300);
    *theirs = left.load();
    mine.FreeOffset(kCtx, block);  // last, so that nobody gets it
    raise(SIGKILL);
  });
  REQUIRE(WIFSIGNALED(killed.status_));
  REQUIRE(WTERMSIG(killed.status_) == SIGKILL);
  RequireFreeElsewhereIs("DoubleFree", f, block);
  const OffsetPtr<> left(*theirs);
  REQUIRE_FALSE(left.IsNull());
  RequireNoPartIsFreedElsewhere(f, left);
  alloc.FreeOffset(kCtx, left);
  RequireFreeElsewhereIs("DoubleFree", f, left);
  RequireFreeElsewhereIs("DoubleFree", f, block);
  alloc.FreeOffset(kCtx, beside);
  alloc.FreeOffset(kCtx, beside_theirs);
  alloc.DelObj(kCtx, theirs);
  f.RequireAsNew();
}

}  // namespace

#endif  // HSHM_UNIT_TESTS_CONTRACT_SHARED_MISUSE_CLAIMS_H_
