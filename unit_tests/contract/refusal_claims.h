#ifndef HSHM_UNIT_TESTS_CONTRACT_REFUSAL_CLAIMS_H_
#define HSHM_UNIT_TESTS_CONTRACT_REFUSAL_CLAIMS_H_

#include "backend/error_code.h"
#include "contract/block_claims.h"
#include "hermes_shm/memory/allocator/buddy_allocator.h"

/** What an allocator does on the backends that it cannot work on. */
namespace {

TEST_CASE(HSHM_CONTRACT_NAME " refuses other backends at set-up, and leaves them unused") {
  const auto is_refused = [](int kind) { return !Traits::WorksOn(kind); };
  const int kind = GENERATE_COPY(filter(is_refused, range(0, +TestBackend::kKinds)));
  CAPTURE(TestBackend::KindName(kind));
  TestBackend backend(kind, Traits::kRegionBytes);
  const auto refused = hshm::ipc::test::ThrownBy(
      [&] { (void)backend->template MakeAlloc<Alloc>(AllocatorId(7, 0), 256); });
  REQUIRE(refused.code_ == hshm::ErrorCode::kUnsupported);
  REQUIRE(refused.Says("Use "));  // what to do instead
  auto* other = backend->template MakeAlloc<hshm::ipc::BuddyAllocator>(AllocatorId(8, 0));
  REQUIRE_FALSE(other->AllocateOffset(kCtx, 100).IsNull());
}

}  // namespace

#endif  // HSHM_UNIT_TESTS_CONTRACT_REFUSAL_CLAIMS_H_
