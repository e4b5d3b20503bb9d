#ifndef HSHM_UNIT_TESTS_CONTRACT_REGION_CLAIMS_H_
#define HSHM_UNIT_TESTS_CONTRACT_REGION_CLAIMS_H_

#include "contract/block_claims.h"

/** What may be expected of an allocator whose blocks lie in its region. */
namespace {

TEST_CASE(HSHM_CONTRACT_NAME " says null when it is full, and has room again afterwards") {
  HSHM_CONTRACT_FIXTURE(f);
  size_t first_count = 0;
  for (int round = 0; round < 3; ++round) {
    CAPTURE(round);
    std::vector<OffsetPtr<>> blocks = FillUp(*f.alloc_, 1000);
    if (round == 0) first_count = blocks.size();
    REQUIRE(blocks.size() * 1000 >= Traits::kRegionBytes * Traits::kLeastUsablePercent / 100);
    REQUIRE(blocks.size() >= first_count * 99 / 100);
    REQUIRE(f.alloc_->AllocateOffset(kCtx, 100000).IsNull());
    REQUIRE(f.alloc_->Check());
    if (Traits::kReusesEveryBlock) {  // a hole in the middle is room
      f.alloc_->FreeOffset(kCtx, blocks[blocks.size() / 2]);
      blocks[blocks.size() / 2] = f.alloc_->AllocateOffset(kCtx, 1000);
      REQUIRE_FALSE(blocks[blocks.size() / 2].IsNull());
    }
    for (OffsetPtr<> block : blocks) f.alloc_->FreeOffset(kCtx, block);
    const OffsetPtr<> large = f.alloc_->AllocateOffset(kCtx, Traits::kRegionBytes / 3);
    REQUIRE_FALSE(large.IsNull());
    f.alloc_->FreeOffset(kCtx, large);
    f.RequireAsNew();
  }
}

}  // namespace

#endif  // HSHM_UNIT_TESTS_CONTRACT_REGION_CLAIMS_H_
