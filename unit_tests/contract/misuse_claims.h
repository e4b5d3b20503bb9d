#ifndef HSHM_UNIT_TESTS_CONTRACT_MISUSE_CLAIMS_H_
#define HSHM_UNIT_TESTS_CONTRACT_MISUSE_CLAIMS_H_

#include "contract/block_claims.h"

/** Broken rules end in the defect's sentence. Each is broken in a forked child. */
namespace {

template <typename Action>
void RequireDefect(const std::string& defect, Action action) {
  const ChildResult result = InForkedChild(action);
  CAPTURE(defect, result.stderr_);
  REQUIRE(result.Aborted());
  REQUIRE(result.stderr_.find("hshm: " + defect + ": ") != std::string::npos);
}

TEST_CASE(HSHM_CONTRACT_NAME " stops with the name of the rule that was broken") {
  HSHM_CONTRACT_FIXTURE(f);
  Alloc& alloc = *f.alloc_;
  const auto free_at = [&](Offset offset) {
    return [&alloc, offset] { alloc.FreeOffset(kCtx, OffsetPtr<>(offset)); };
  };
  RequireDefect("NullFree", free_at(0));
  RequireDefect("NullFree", [&] { alloc.DelObjs(kCtx, FullPtr<int>(), 1); });
  RequireDefect("ForeignPointer", free_at(Traits::kRegionBytes));
  RequireDefect("ForeignPointer", free_at(~uint64_t{0} - 15));
  RequireDefect("ForeignPointer", free_at(4096));
  RequireDefect("BadAlignment", [&] { (void)alloc.AlignedAllocateOffset(kCtx, 16, 0); });
  RequireDefect("BadAlignment", [&] { (void)alloc.AlignedAllocateOffset(kCtx, 16, 48); });
  RequireDefect("BadAlignment", [&] { (void)alloc.AlignedAllocateOffset(kCtx, 16, kHuge); });
  RequireDefect("NotAttached", [&] {
    alloc.shm_detach();
    (void)alloc.AllocateOffset(kCtx, 16);
  });
  REQUIRE(f.alloc_->Check());
}

TEST_CASE(HSHM_CONTRACT_NAME " finds double frees and pointers into blocks") {
  if (!Traits::kFindsMisuse) return;
  HSHM_CONTRACT_FIXTURE(f);
  Alloc& alloc = *f.alloc_;
  const OffsetPtr<> below = alloc.AllocateOffset(kCtx, 300);
  const OffsetPtr<> block = alloc.AllocateOffset(kCtx, 300);
  const OffsetPtr<> above = alloc.AllocateOffset(kCtx, 300);
  std::memset(alloc.Convert(block), 0, 300);
  for (Offset inside : {1, 8, 16, 64, 128, 299}) {
    CAPTURE(inside);
    RequireDefect("InvalidFree",
                  [&] { alloc.FreeOffset(kCtx, OffsetPtr<>(block.load() + inside)); });
    RequireDefect("InvalidFree", [&] {
      (void)alloc.ReallocateOffset(kCtx, OffsetPtr<>(block.load() + inside), 5);
    });
  }
  alloc.FreeOffset(kCtx, block);
  RequireDefect("DoubleFree", [&] { alloc.FreeOffset(kCtx, block); });
  RequireDefect("DoubleFree", [&] { (void)alloc.ReallocateOffset(kCtx, block, 5); });
  alloc.FreeOffset(kCtx, above);
  RequireDefect("DoubleFree", [&] { alloc.FreeOffset(kCtx, above); });
  alloc.FreeOffset(kCtx, below);
  RequireDefect("DoubleFree", [&] { alloc.FreeOffset(kCtx, below); });
  f.RequireAsNew();
}

}  // namespace

#endif  // HSHM_UNIT_TESTS_CONTRACT_MISUSE_CLAIMS_H_
