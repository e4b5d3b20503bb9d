#ifndef HSHM_UNIT_TESTS_CONTRACT_TYPED_CLAIMS_H_
#define HSHM_UNIT_TESTS_CONTRACT_TYPED_CLAIMS_H_

#include <memory>

#include "contract/block_claims.h"
#include "contract/misuse_claims.h"
#include "hermes_shm/memory/allocator/scoped_arena.h"

/** Typed pointers and objects, on any allocator. */
namespace {

using hshm::ipc::ScopedArena;
using hshm::ipc::ShmPtr;

template <typename T, typename OffsetT>
concept IsConverted = requires(const Alloc& alloc, OffsetT offset) {
  alloc.template Convert<T>(offset);
};
template <typename T, typename OffsetT>
inline constexpr bool kIsFull = std::is_constructible_v<FullPtr<T>, Alloc*, OffsetT>;
using hshm::ipc::AtomicOffsetPtr;
static_assert(IsConverted<int, OffsetPtr<int>> && IsConverted<int, AtomicOffsetPtr<int>>);
static_assert(IsConverted<int, OffsetPtr<>> && IsConverted<int, AtomicOffsetPtr<>>);
static_assert(!IsConverted<int, OffsetPtr<float>> && !IsConverted<int, AtomicOffsetPtr<float>>);
static_assert(kIsFull<int, OffsetPtr<int>> && kIsFull<int, AtomicOffsetPtr<int>>);
static_assert(kIsFull<int, OffsetPtr<>> && kIsFull<int, AtomicOffsetPtr<>>);
static_assert(!kIsFull<int, OffsetPtr<float>> && !kIsFull<int, AtomicOffsetPtr<float>>);

TEST_CASE(HSHM_CONTRACT_NAME " keeps over-aligned objects aligned as they grow and shrink") {
  HSHM_CONTRACT_FIXTURE(f);
  const bool is_in_arena = GENERATE(false, true);
  CAPTURE(is_in_arena);
  const MemContext ctx = is_in_arena ? f.alloc_->PushArena(kCtx, 4096) : kCtx;
  auto wide = f.alloc_->template ReallocateObjs<Wide>(ctx, FullPtr<Wide>(), 1);
  FillPattern(wide.ptr_->bytes_, sizeof(Wide), 1);
  for (size_t count = 2; count < 60; ++count) {
    const auto between = f.alloc_->Allocate(ctx, 24);  // so that not everything grows in place
    REQUIRE_FALSE(between.IsNull());
    const size_t length = count % 7 == 0 ? count / 3 : count;
    wide = f.alloc_->ReallocateObjs(ctx, wide, length);
    REQUIRE_FALSE(wide.IsNull());
    REQUIRE(reinterpret_cast<uintptr_t>(wide.ptr_) % alignof(Wide) == 0);
    REQUIRE(HasPattern(wide.ptr_->bytes_, sizeof(Wide), sizeof(Wide), 1));
    REQUIRE(f.alloc_->GetUsableSize(ctx, wide.shm_.off_) >= length * sizeof(Wide));
    std::memset(static_cast<void*>(wide.ptr_ + 1), 0x77, (length - 1) * sizeof(Wide));
    f.alloc_->Free(ctx, between);
  }
  REQUIRE(f.alloc_->template ReallocateObjs<Wide>(ctx, wide, kHuge / sizeof(Wide)).IsNull());
  REQUIRE(HasPattern(wide.ptr_->bytes_, sizeof(Wide), sizeof(Wide), 1));
  REQUIRE(f.alloc_->Check());
  f.alloc_->Free(ctx, wide);
  if (is_in_arena) f.alloc_->PopArena(ctx);
  f.RequireAsNew();
}

TEST_CASE(HSHM_CONTRACT_NAME
          " grows the topmost block of an arena where it is, whatever its type") {
  HSHM_CONTRACT_FIXTURE(f);
  const ScopedArena arena(f.alloc_, kCtx, 64 * 1024);
  const auto below = f.alloc_->template AllocateObjs<Wide>(arena.ctx(), 1);
  const auto first = f.alloc_->template AllocateObjs<Wide>(arena.ctx(), 1);
  auto wide = first;
  for (size_t count = 2; count < 100; ++count) {
    wide = f.alloc_->ReallocateObjs(arena.ctx(), wide, count);
    REQUIRE(wide == first);
  }
  REQUIRE(f.alloc_->ReallocateObjs(arena.ctx(), wide, 1) == first);
  REQUIRE(f.alloc_->ResizeInPlace(arena.ctx(), below.shm_.off_, sizeof(Wide)));
  REQUIRE_FALSE(f.alloc_->ResizeInPlace(arena.ctx(), below.shm_.off_, 2 * sizeof(Wide)));
}

TEST_CASE(HSHM_CONTRACT_NAME " resizes blocks in place, or says no and changes nothing") {
  HSHM_CONTRACT_FIXTURE(f);
  for (const size_t size : {100, 5000, 300'000}) {
    CAPTURE(size);
    const OffsetPtr<> block = f.alloc_->AllocateOffset(kCtx, size);
    const OffsetPtr<> wall = f.alloc_->AllocateOffset(kCtx, size);
    char* const bytes = f.alloc_->template Convert<char>(block);
    FillPattern(bytes, size, 3);
    const size_t usable = f.alloc_->GetUsableSize(block);
    REQUIRE(f.alloc_->ResizeInPlace(kCtx, block, usable));
    REQUIRE_FALSE(f.alloc_->ResizeInPlace(kCtx, block, kHuge));
    REQUIRE_FALSE(f.alloc_->ResizeInPlace(kCtx, block, Traits::kRegionBytes));
    REQUIRE(f.alloc_->GetUsableSize(block) == usable);
    if (f.alloc_->ResizeInPlace(kCtx, block, 2 * size)) {
      REQUIRE(f.alloc_->GetUsableSize(block) >= 2 * size);
      std::memset(bytes + size, 0x5a, size);
    }
    REQUIRE(HasPattern(bytes, size, size, 3));
    REQUIRE(f.alloc_->Check());
    f.alloc_->FreeOffset(kCtx, wall);
    f.alloc_->FreeOffset(kCtx, block);
  }
  f.RequireAsNew();
}

TEST_CASE(HSHM_CONTRACT_NAME " tells of every block how much it can hold") {
  HSHM_CONTRACT_FIXTURE(f);
  {
    const ScopedArena arena(f.alloc_);
    for (const size_t size : {0, 1, 16, 100, 5000, 70'000}) {
      CAPTURE(size);
      const OffsetPtr<> block = f.alloc_->AllocateOffset(kCtx, size);
      const size_t usable = f.alloc_->GetUsableSize(block);
      REQUIRE(usable >= size);
      REQUIRE(usable <= 2 * size + 64 * 1024);
      REQUIRE(f.alloc_->GetUsableSize(kCtx, block) == usable);
      std::memset(f.alloc_->template Convert<char>(block), 0x5a, usable);
      const OffsetPtr<> bumped = f.alloc_->AllocateOffset(arena.ctx(), size);
      REQUIRE(f.alloc_->GetUsableSize(arena.ctx(), bumped) >= size);
      REQUIRE(f.alloc_->GetUsableSize(arena.ctx(), bumped) <= size + 8);
      f.alloc_->FreeOffset(kCtx, block);
    }
  }
  // Beyond the region may be what malloc gave; the region itself it did not give.
  const Offset nobodys = Traits::kBlocksLieInRegion ? Traits::kRegionBytes : 4096;
  RequireDefect("ForeignPointer",
                [&] { static_cast<void>(f.alloc_->GetUsableSize(OffsetPtr<>(nobodys))); });
  f.RequireAsNew();
}

struct OwnerOfText {
  explicit OwnerOfText(std::unique_ptr<std::string> text) : text_(std::move(text)) {}
  std::unique_ptr<std::string> text_;
};

TEST_CASE(HSHM_CONTRACT_NAME " moves what it is given to move into a new object") {
  HSHM_CONTRACT_FIXTURE(f);
  const auto owner =
      f.alloc_->template NewObj<OwnerOfText>(kCtx, std::make_unique<std::string>("it"));
  REQUIRE(*owner->text_ == "it");
  f.alloc_->DelObj(kCtx, owner);
  int budget = 0;
  Fragile::living_ = 0;
  REQUIRE_THROWS_AS(f.alloc_->template NewObj<Fragile>(kCtx, &budget), std::runtime_error);
  REQUIRE(Fragile::living_ == 0);
  f.RequireAsNew();
}

TEST_CASE(HSHM_CONTRACT_NAME " takes offsets with and without a type for each other") {
  HSHM_CONTRACT_FIXTURE(f);
  Alloc& alloc = *f.alloc_;
  const OffsetPtr<> untyped = alloc.AllocateOffset(kCtx, sizeof(uint64_t));
  const FullPtr<uint64_t> number(&alloc, untyped);
  *number = 77;
  REQUIRE(*alloc.template Convert<uint64_t>(untyped) == 77);
  REQUIRE(alloc.SetRoot("number", number.shm_.off_));
  REQUIRE(alloc.template FindRoot<uint64_t>("number") == number);
  REQUIRE(alloc.SetRoot("number", OffsetPtr<>()));
  const ShmPtr<> anything = number.shm_;
  REQUIRE(alloc.Convert(anything) == number.ptr_);
  alloc.FreeOffset(kCtx, number.shm_.off_);
  f.RequireAsNew();
}

TEST_CASE(HSHM_CONTRACT_NAME " stops at typed pointers that name another allocator") {
  HSHM_CONTRACT_FIXTURE(f);
  Alloc& alloc = *f.alloc_;
  const auto mine = alloc.template AllocateObjs<int>(kCtx, 10);
  const FullPtr<int> others(AllocatorId(7, 1), mine.ptr_, mine.shm_.off_.load());
  RequireDefect("ForeignPointer", [&] { alloc.Free(kCtx, others); });
  RequireDefect("ForeignPointer", [&] { alloc.Free(kCtx, others.shm_); });
  RequireDefect("ForeignPointer", [&] { alloc.DelObjs(kCtx, others, 10); });
  RequireDefect("ForeignPointer", [&] { (void)alloc.Reallocate(kCtx, others, 100); });
  RequireDefect("ForeignPointer", [&] {
    const FullPtr<Wide> wide = others.template Cast<Wide>();
    (void)alloc.ReallocateObjs(kCtx, wide, 100);
  });
  RequireDefect("ForeignPointer", [&] { (void)alloc.SetRoot("others", others); });
  RequireDefect("ForeignPointer", [&] { (void)alloc.Convert(others.shm_); });
  // One that names none is what its offset says.
  const FullPtr<int> nobodys(AllocatorId(), mine.ptr_, mine.shm_.off_.load());
  REQUIRE(alloc.Convert(nobodys.shm_) == mine.ptr_);
  alloc.Free(kCtx, nobodys);
  f.RequireAsNew();
}

}  // namespace

#endif  // HSHM_UNIT_TESTS_CONTRACT_TYPED_CLAIMS_H_
