#ifndef HSHM_UNIT_TESTS_CONTRACT_LIFECYCLE_CLAIMS_H_
#define HSHM_UNIT_TESTS_CONTRACT_LIFECYCLE_CLAIMS_H_

#include <functional>
#include <type_traits>

#include "contract/block_claims.h"
#include "contract/misuse_claims.h"
#include "hermes_shm/memory/allocator/buddy_allocator.h"
#include "hermes_shm/memory/allocator/stack_allocator.h"

/** Handles that are used too early, too late, twice, or on what is not theirs. */
namespace {

using hshm::ErrorCode;

template <typename Action>
ErrorCode ErrorOf(Action action) {
  try {
    action();
  } catch (const hshm::Error& error) {
    return error.code();
  }
  return ErrorCode::kNone;
}

TEST_CASE(HSHM_CONTRACT_NAME " stops at each call after shm_detach that goes to the region") {
  HSHM_CONTRACT_FIXTURE(f);
  Alloc& alloc = *f.alloc_;
  const OffsetPtr<> block = alloc.AllocateOffset(kCtx, 100);
  const std::pair<const char*, std::function<void()>> calls[] = {
      {"Allocate", [&] { (void)alloc.AllocateOffset(kCtx, 16); }},
      {"AlignedAllocate", [&] { (void)alloc.AlignedAllocateOffset(kCtx, 16, 64); }},
      {"Reallocate", [&] { (void)alloc.ReallocateOffset(kCtx, block, 200); }},
      {"Free", [&] { alloc.FreeOffset(kCtx, block); }},
      {"SetRoot", [&] { (void)alloc.SetRoot("name", block); }},
      {"FindRoot", [&] { (void)alloc.template FindRoot<int>("name"); }},
      {"GetCustomHeader", [&] { (void)alloc.template GetCustomHeader<int>(); }},
      {"GetCurrentlyAllocatedSize", [&] { (void)alloc.GetCurrentlyAllocatedSize(); }},
      {"Check", [&] { (void)alloc.Check(); }},
      {"GetStats", [&] { (void)alloc.GetStats(); }},
      {"CreateTls", [&] { (void)alloc.CreateTls(kCtx); }},
      {"FreeTls", [&] { alloc.FreeTls(kCtx); }},
      {"PushArena", [&] { (void)alloc.PushArena(kCtx); }},
  };
  for (const auto& [name, call] : calls) {
    CAPTURE(name);
    RequireDefect("NotAttached", [&, &call = call] {
      alloc.shm_detach();
      call();
    });
  }
  alloc.FreeOffset(kCtx, block);  // the children detached copies
  Alloc never_attached;
  RequireDefect("NotAttached", [&] { (void)never_attached.CreateTls(kCtx); });
  RequireDefect("NotAttached", [&] { never_attached.FreeTls(kCtx); });
}

TEST_CASE(HSHM_CONTRACT_NAME " refuses pointers of the stack and of malloc") {
  HSHM_CONTRACT_FIXTURE(f);
  Alloc& alloc = *f.alloc_;
  alignas(16) char on_stack[64] = {};
  RequireDefect("ForeignPointer",
                [&] { alloc.FreeOffset(kCtx, OffsetPtr<>(alloc.GetRegion().OffsetOf(on_stack))); });
  if (!Traits::kBlocksLieInRegion) return;
  const std::unique_ptr<char[]> of_malloc(new char[64]);
  RequireDefect("ForeignPointer", [&] {
    alloc.FreeOffset(kCtx, OffsetPtr<>(alloc.GetRegion().OffsetOf(of_malloc.get())));
  });
  if (!Traits::kFindsMisuse) return;  // a forked child without a slot answers with null
  RequireDefect("ForeignPointer", [&] {
    (void)alloc.ReallocateOffset(kCtx, OffsetPtr<>(alloc.GetRegion().OffsetOf(of_malloc.get())), 5);
  });
}

TEST_CASE(HSHM_CONTRACT_NAME " is attached once at a time, and detached as often as one likes") {
  HSHM_CONTRACT_FIXTURE(f);
  const auto region = f.backend_->region();
  REQUIRE(ErrorOf([&] { f.alloc_->shm_attach(region); }) == ErrorCode::kBackendInUse);
  REQUIRE(ErrorOf([&] { f.alloc_->shm_init(AllocatorId(1, 1), 0, region); }) ==
          ErrorCode::kBackendInUse);
  Alloc other;
  REQUIRE(ErrorOf([&] { other.shm_init(AllocatorId(1, 1), 0, region); }) ==
          ErrorCode::kBackendInUse);
  other.shm_detach();  // it is attached to nothing
  other.shm_attach(region);
  other.shm_detach();
  other.shm_detach();
  other.shm_attach(region);
  const OffsetPtr<> block = other.AllocateOffset(kCtx, 100);
  REQUIRE_FALSE(block.IsNull());
  other.FreeOffset(kCtx, block);
  other.shm_detach();
  f.RequireAsNew();
}

TEST_CASE(HSHM_CONTRACT_NAME
          " is refused to other classes, to other versions, and without a region") {
  HSHM_CONTRACT_FIXTURE(f);
  using Other = std::conditional_t<std::is_same_v<Alloc, hshm::ipc::StackAllocator>,
                                   hshm::ipc::BuddyAllocator, hshm::ipc::StackAllocator>;
  const auto region = f.backend_->region();
  REQUIRE(ErrorOf([&] { Other().shm_attach(region); }) == ErrorCode::kWrongAllocator);
  auto* header = region.template At<hshm::ipc::AllocatorHeader>(
      hshm::ipc::AllocatorOffsetFor(region.size_bytes_));
  const uint32_t version = header->layout_version_;
  for (const uint32_t wrong : {version - 1, version + 1}) {
    header->layout_version_ = wrong;
    REQUIRE(ErrorOf([&] { Alloc().shm_attach(region); }) == ErrorCode::kVersionMismatch);
  }
  header->layout_version_ = version;
  REQUIRE(ErrorOf([&] { Alloc().shm_attach(hshm::ipc::Region()); }) == ErrorCode::kOutOfRange);
  f.RequireAsNew();
}

}  // namespace

#endif  // HSHM_UNIT_TESTS_CONTRACT_LIFECYCLE_CLAIMS_H_
