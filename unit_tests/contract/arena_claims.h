#ifndef HSHM_UNIT_TESTS_CONTRACT_ARENA_CLAIMS_H_
#define HSHM_UNIT_TESTS_CONTRACT_ARENA_CLAIMS_H_

#include <thread>

#include "contract/block_claims.h"
#include "contract/misuse_claims.h"
#include "hermes_shm/memory/allocator/scoped_arena.h"

/** Arenas of one process, on any allocator. */
namespace {

using hshm::ipc::kMaxArenas;
using hshm::ipc::ScopedArena;

TEST_CASE(HSHM_CONTRACT_NAME " keeps an arena's blocks apart, and frees them all at once") {
  HSHM_CONTRACT_FIXTURE(f);
  const MemContext arena = f.alloc_->PushArena(kCtx, 4096);
  REQUIRE(f.alloc_->GetCurrentlyAllocatedSize() == f.first_bytes_);  // no chunk before a block
  Shadow shadow;
  std::vector<FullPtr<char>> blocks;
  for (size_t size = 0; size < 700; ++size) {
    blocks.push_back(f.alloc_->Allocate(arena, size));
    REQUIRE_FALSE(blocks.back().IsNull());
    REQUIRE(blocks.back().shm_.off_.load() % 16 == 0);
    REQUIRE(shadow.Add(blocks.back().shm_.off_.load(), {std::max<size_t>(size, 1), 0}));
    FillPattern(blocks.back().ptr_, size, static_cast<uint32_t>(size));
    if (size % 3 == 0) {  // blocks beside the arena are none of its business
      const auto other = f.alloc_->Allocate(kCtx, size);
      REQUIRE(shadow.Add(other.shm_.off_.load(), {std::max<size_t>(size, 1), 0}));
      std::memset(other.ptr_, 0xff, size);
      f.alloc_->Free(kCtx, other);
      shadow.Remove(other.shm_.off_.load());
    }
  }
  REQUIRE(f.alloc_->Check());
  for (size_t size = 0; size < blocks.size(); size += 2) f.alloc_->Free(arena, blocks[size]);
  for (size_t size = 1; size < blocks.size(); size += 2) {
    REQUIRE(HasPattern(blocks[size].ptr_, size, size, static_cast<uint32_t>(size)));
  }
  REQUIRE(f.alloc_->HasArena(arena));
  REQUIRE_FALSE(f.alloc_->PopArena(arena).IsValid());  // back to the default
  REQUIRE_FALSE(f.alloc_->HasArena(arena));
  f.RequireAsNew();
}

TEST_CASE(HSHM_CONTRACT_NAME
          " gives back an arena's topmost blocks in their order, and large ones") {
  HSHM_CONTRACT_FIXTURE(f);
  const ScopedArena arena(f.alloc_);
  const auto first = f.alloc_->AllocateOffset(arena.ctx(), 24);
  std::vector<OffsetPtr<>> blocks;
  for (size_t size : {0, 8, 16, 24, 100, 1000}) {
    blocks.push_back(f.alloc_->AllocateOffset(arena.ctx(), size));
  }
  const OffsetPtr<> lowest = blocks.front();
  for (; !blocks.empty(); blocks.pop_back()) f.alloc_->FreeOffset(arena.ctx(), blocks.back());
  REQUIRE(f.alloc_->AllocateOffset(arena.ctx(), 8) == lowest);
  const size_t before = f.alloc_->GetCurrentlyAllocatedSize();
  const auto large = f.alloc_->AllocateOffset(arena.ctx(), 100000);
  REQUIRE(f.alloc_->GetCurrentlyAllocatedSize() >= before + 100000);
  f.alloc_->FreeOffset(arena.ctx(), large);
  if (Traits::kStatsReturn) REQUIRE(f.alloc_->GetCurrentlyAllocatedSize() == before);
  f.alloc_->FreeOffset(arena.ctx(), first);
  REQUIRE(f.alloc_->Check());
}

TEST_CASE(HSHM_CONTRACT_NAME " grows an arena's topmost block in place and moves any other") {
  HSHM_CONTRACT_FIXTURE(f);
  {
    const ScopedArena arena(f.alloc_);
    auto block = f.alloc_->Reallocate(arena.ctx(), FullPtr<char>(), 100);
    FillPattern(block.ptr_, 100, 1);
    const auto grown = f.alloc_->Reallocate(arena.ctx(), block, 1000);
    REQUIRE(grown == block);
    REQUIRE(f.alloc_->Reallocate(arena.ctx(), block, 100) == block);
    REQUIRE(HasPattern(block.ptr_, 100, 100, 1));
    const auto above = f.alloc_->Allocate(arena.ctx(), 10);
    REQUIRE(above.shm_.off_.load() - block.shm_.off_.load() < 160);  // it did shrink
    const auto moved = f.alloc_->Reallocate(arena.ctx(), block, 1000);
    REQUIRE_FALSE(moved.shm_.off_.load() == block.shm_.off_.load());
    REQUIRE(HasPattern(moved.ptr_, 100, 100, 1));
    FillPattern(moved.ptr_, 1000, 2);
    const auto large = f.alloc_->Reallocate(arena.ctx(), moved, 70000);  // into its own chunk
    REQUIRE(HasPattern(large.ptr_, 1000, 1000, 2));
    FillPattern(large.ptr_, 70000, 3);
    const auto larger = f.alloc_->Reallocate(arena.ctx(), large, 150000);
    REQUIRE(HasPattern(larger.ptr_, 70000, 70000, 3));
    REQUIRE(f.alloc_->Reallocate(arena.ctx(), larger, 5) == larger);
    REQUIRE(f.alloc_->Reallocate(arena.ctx(), above, kHuge).IsNull());
    REQUIRE(f.alloc_->Check());
  }
  f.RequireAsNew();
}

TEST_CASE(HSHM_CONTRACT_NAME " pops what was pushed on an arena together with it") {
  HSHM_CONTRACT_FIXTURE(f);
  const MemContext mine = f.alloc_->CreateTls(kCtx);
  const MemContext outer = f.alloc_->PushArena(mine, 1024);
  const MemContext left = f.alloc_->PushArena(outer, 1024);
  const MemContext right = f.alloc_->PushArena(outer, 1024);
  const MemContext leaf = f.alloc_->PushArena(left, 1024);
  for (const MemContext& ctx : {outer, left, right, leaf}) {
    for (int i = 0; i < 100; ++i) REQUIRE_FALSE(f.alloc_->Allocate(ctx, 100).IsNull());
  }
  const auto kept = f.alloc_->Allocate(outer, 100);
  FillPattern(kept.ptr_, 100, 7);
  const MemContext back = f.alloc_->PopArena(left);
  REQUIRE(back.pid_ == outer.pid_);
  REQUIRE(back.tid_ == outer.tid_);
  REQUIRE_FALSE(f.alloc_->HasArena(leaf));
  REQUIRE(f.alloc_->HasArena(right));
  REQUIRE(HasPattern(kept.ptr_, 100, 100, 7));
  REQUIRE(f.alloc_->CreateTls(outer).tid_ == mine.tid_);  // a heap's context, not the arena's
  REQUIRE(f.alloc_->PopArena(outer).tid_ == mine.tid_);
  REQUIRE_FALSE(f.alloc_->HasArena(right));
  f.alloc_->FreeTls(mine);
  f.RequireAsNew();
}

TEST_CASE(HSHM_CONTRACT_NAME " aligns an arena's blocks and makes objects in it") {
  HSHM_CONTRACT_FIXTURE(f);
  {
    const ScopedArena arena(f.alloc_, kCtx, 2048);
    Shadow shadow;
    for (size_t alignment = 1; alignment <= 16384; alignment *= 2) {
      for (size_t size : {1, 40, 600}) {
        const auto block = f.alloc_->AlignedAllocate(arena.ctx(), size, alignment);
        REQUIRE_FALSE(block.IsNull());
        const auto address = reinterpret_cast<uintptr_t>(block.ptr_);
        if (Traits::kBlocksLieInRegion) {
          REQUIRE(block.shm_.off_.load() % alignment == 0);
          REQUIRE(address % std::min<size_t>(alignment, 4096) == 0);  // as the regions are
        } else {
          REQUIRE(address % alignment == 0);
        }
        REQUIRE(shadow.Add(block.shm_.off_.load(), {size, 0}));
        std::memset(block.ptr_, 0x5a, size);
      }
    }
    const auto wide = f.alloc_->template NewObjs<Wide>(arena.ctx(), 3);
    REQUIRE(reinterpret_cast<uintptr_t>(wide.ptr_) % 128 == 0);
    const auto text =
        f.alloc_->template NewObj<std::string>(arena.ctx(), "longer than it is short");
    REQUIRE(*text == "longer than it is short");
    f.alloc_->DelObj(arena.ctx(), text);
    int budget = 2;
    REQUIRE_THROWS_AS((void)f.alloc_->template NewObjs<Fragile>(arena.ctx(), 3, &budget),
                      std::runtime_error);
    REQUIRE(f.alloc_->Check());
  }
  f.RequireAsNew();
}

TEST_CASE(HSHM_CONTRACT_NAME " answers an arena with null when there is no room, and goes on") {
  HSHM_CONTRACT_FIXTURE(f);
  const MemContext arena = f.alloc_->PushArena(kCtx);
  for (size_t size : {kHuge, kHuge - 15, kHuge / 2, size_t{1} << 48}) {
    REQUIRE(f.alloc_->AllocateOffset(arena, size).IsNull());
    REQUIRE(f.alloc_->AlignedAllocateOffset(arena, 16, kHuge / 2 + 1).IsNull());
  }
  REQUIRE(f.alloc_->template AllocateObjs<uint64_t>(arena, kHuge / 8 + 1).IsNull());
  f.RequireAsNew();
  if (Traits::kBlocksLieInRegion) {
    uint64_t bytes = 0;
    while (!f.alloc_->AllocateOffset(arena, 1000).IsNull()) bytes += 1000;
    REQUIRE(bytes >= Traits::kRegionBytes * Traits::kLeastUsablePercent / 100);
    REQUIRE(f.alloc_->AllocateOffset(kCtx, 100000).IsNull());
    REQUIRE(f.alloc_->Check());
  }
  f.alloc_->PopArena(arena);
  f.RequireAsNew();
  const auto again = f.alloc_->AllocateOffset(kCtx, 100000);
  REQUIRE_FALSE(again.IsNull());
  f.alloc_->FreeOffset(kCtx, again);
}

TEST_CASE(HSHM_CONTRACT_NAME " opens 1024 arenas, and says that this is the most") {
  HSHM_CONTRACT_FIXTURE(f);
  std::vector<MemContext> arenas;
  for (uint32_t i = 0; i < kMaxArenas; ++i) arenas.push_back(f.alloc_->PushArena(kCtx));
  const auto push_error = [&](size_t chunk_bytes) {
    try {
      (void)f.alloc_->PushArena(kCtx, chunk_bytes);
    } catch (const hshm::Error& error) {
      return error.code();
    }
    return hshm::ErrorCode::kNone;
  };
  REQUIRE(push_error(4096) == hshm::ErrorCode::kOutOfRange);
  f.alloc_->PopArena(arenas[500]);
  const MemContext one = f.alloc_->PushArena(kCtx);
  REQUIRE_FALSE(one.tid_ == arenas[500].tid_);
  arenas[500] = one;
  for (const MemContext& arena : arenas) f.alloc_->PopArena(arena);
  REQUIRE(push_error(0) == hshm::ErrorCode::kOutOfRange);
  REQUIRE(push_error((size_t{1} << 40) + 1) == hshm::ErrorCode::kOutOfRange);
  f.RequireAsNew();
}

TEST_CASE(HSHM_CONTRACT_NAME " stops when a rule of arenas is broken") {
  HSHM_CONTRACT_FIXTURE(f);
  Alloc& alloc = *f.alloc_;
  const MemContext arena = alloc.PushArena(kCtx);
  const MemContext other = alloc.PushArena(kCtx);
  const MemContext gone = alloc.PushArena(kCtx);
  const auto ordinary = alloc.AllocateOffset(kCtx, 100);
  const auto block = alloc.AllocateOffset(arena, 100);
  const auto theirs = alloc.AllocateOffset(other, 100);
  std::memset(alloc.Convert(block), 0, 100);  // else an earlier arena's headers may stand there
  alloc.PopArena(gone);
  RequireDefect("ClosedArena", [&] { (void)alloc.AllocateOffset(gone, 16); });
  RequireDefect("ClosedArena", [&] { alloc.FreeOffset(gone, block); });
  RequireDefect("ClosedArena", [&] { (void)alloc.PopArena(gone); });
  RequireDefect("ClosedArena", [&] { (void)alloc.PopArena(kCtx); });
  RequireDefect("ClosedArena", [&] { (void)alloc.PushArena(gone); });
  RequireDefect("InvalidFree", [&] { alloc.FreeOffset(arena, theirs); });
  RequireDefect("InvalidFree", [&] { alloc.FreeOffset(arena, ordinary); });
  RequireDefect("InvalidFree", [&] { (void)alloc.ReallocateOffset(arena, theirs, 5); });
  for (Offset inside : {1, 8, 16, 96}) {
    RequireDefect("InvalidFree",
                  [&] { alloc.FreeOffset(arena, OffsetPtr<>(block.load() + inside)); });
  }
  RequireDefect("NullFree", [&] { alloc.FreeOffset(arena, OffsetPtr<>()); });
  RequireDefect("ForeignPointer",
                [&] { alloc.FreeOffset(arena, OffsetPtr<>(Traits::kRegionBytes << 40)); });
  RequireDefect("BadAlignment", [&] { (void)alloc.AlignedAllocateOffset(arena, 16, 48); });
  if (Traits::kFindsMisuse) {
    RequireDefect("InvalidFree", [&] { alloc.FreeOffset(kCtx, block); });
  }
  alloc.FreeOffset(arena, block);
  RequireDefect("DoubleFree", [&] { alloc.FreeOffset(arena, block); });
  RequireDefect("NotAttached", [&] {
    alloc.shm_detach();
    (void)alloc.AllocateOffset(arena, 16);
  });
  RequireDefect("NotAttached", [&] {
    alloc.shm_detach();
    (void)alloc.PushArena(kCtx);
  });
  alloc.FreeOffset(kCtx, ordinary);
  alloc.PopArena(other);
  alloc.PopArena(arena);
  f.RequireAsNew();
}

/** Arenas pushed on one another, and what was allocated in each. */
class ArenaUser {
 public:
  ArenaUser(Alloc* alloc, uint32_t seed) : alloc_(alloc), random_(seed) { levels_.emplace_back(); }

  bool Step() {
    const uint32_t what = random_() % 100;
    if (what < 3 && levels_.size() < 12) {
      levels_.emplace_back();
      levels_.back().ctx_ =
          alloc_->PushArena(levels_[levels_.size() - 2].ctx_, 1 + random_() % 9000);
      return true;
    }
    if (what < 5 && levels_.size() > 1) return PopFrom(1 + random_() % (levels_.size() - 1));
    Level& level = levels_[random_() % levels_.size()];
    if (what < 50 || level.blocks_.empty()) return Add(level);
    const size_t which = random_() % level.blocks_.size();
    return what < 75 ? Resize(level, which) : Remove(level, which);
  }
  bool Finish() {
    if (levels_.size() > 1 && !PopFrom(1)) return false;
    while (!levels_[0].blocks_.empty()) {
      if (!Remove(levels_[0], 0)) return false;
    }
    return true;
  }

 private:
  struct Held {
    Offset offset_;
    Block block_;
  };
  struct Level {
    MemContext ctx_;
    std::vector<Held> blocks_;
  };

  char* BytesOf(Offset offset) { return alloc_->template Convert<char>(OffsetPtr<char>(offset)); }
  bool IsGood(const Held& held) {
    return HasPattern(BytesOf(held.offset_), held.block_.size_, held.block_.size_,
                      held.block_.owner_);
  }
  bool Add(Level& level) {
    const size_t size = random_() % ((size_t{1} << random_() % 13) + 1);
    const auto got = random_() % 4 == 0 ? alloc_->AlignedAllocateOffset(level.ctx_, size,
                                                                        size_t{1} << random_() % 9)
                                        : alloc_->AllocateOffset(level.ctx_, size);
    if (got.IsNull()) return Finish();
    return Keep(level, got.load(), size);
  }
  bool Keep(Level& level, Offset offset, size_t size) {
    const Held held{offset, {size, ++owner_}};
    FillPattern(BytesOf(offset), size, owner_);
    level.blocks_.push_back(held);
    return shadow_.Add(offset, {std::max<size_t>(size, 1), owner_});
  }
  bool Resize(Level& level, size_t which) {
    const Held held = level.blocks_[which];
    const size_t size = random_() % 5000;
    if (!IsGood(held)) return false;
    const auto got = alloc_->ReallocateOffset(level.ctx_, OffsetPtr<>(held.offset_), size);
    if (got.IsNull()) return IsGood(held);
    const size_t kept = std::min(size, held.block_.size_);
    if (!HasPattern(BytesOf(got.load()), held.block_.size_, kept, held.block_.owner_)) return false;
    Forget(level, which);
    return Keep(level, got.load(), size);
  }
  bool Remove(Level& level, size_t which) {
    const Held held = level.blocks_[which];
    if (!IsGood(held)) return false;
    Forget(level, which);
    alloc_->FreeOffset(level.ctx_, OffsetPtr<>(held.offset_));
    return true;
  }
  void Forget(Level& level, size_t which) {
    shadow_.Remove(level.blocks_[which].offset_);
    level.blocks_.erase(level.blocks_.begin() + static_cast<ptrdiff_t>(which));
  }
  bool PopFrom(size_t first) {
    bool is_good = true;
    for (size_t i = first; i < levels_.size(); ++i) {
      for (const Held& held : levels_[i].blocks_) {
        is_good = is_good && IsGood(held);
        shadow_.Remove(held.offset_);
      }
    }
    alloc_->PopArena(levels_[first].ctx_);
    levels_.resize(first);
    return is_good;
  }

  Alloc* alloc_;
  std::mt19937 random_;
  std::vector<Level> levels_;
  Shadow shadow_;
  uint32_t owner_ = 0;
};

TEST_CASE(HSHM_CONTRACT_NAME " agrees with a shadow map in random operations on arenas") {
  const uint32_t seed = std::random_device{}();
  WARN("seed " << seed);
  HSHM_CONTRACT_FIXTURE(f);
  ArenaUser user(f.alloc_, seed);
  for (int step = 0; step < 4000; ++step) {
    CAPTURE(step);
    REQUIRE(user.Step());
    if (step % 500 == 0) REQUIRE(f.alloc_->Check());
  }
  REQUIRE(user.Finish());
  f.RequireAsNew();
}

TEST_CASE(HSHM_CONTRACT_NAME " serves arenas of several threads at once") {
  const uint32_t seed = std::random_device{}();
  WARN("seed " << seed);
  HSHM_CONTRACT_FIXTURE(f);
  std::atomic<int> broken{0};
  std::vector<std::thread> threads;
  for (uint32_t i = 0; i < 3; ++i) {
    threads.emplace_back([&, i] {
      ArenaUser user(f.alloc_, seed + i);
      for (int step = 0; step < 1500; ++step) broken += user.Step() ? 0 : 1;
      broken += user.Finish() ? 0 : 1;
    });
  }
  for (std::thread& thread : threads) thread.join();
  REQUIRE(broken == 0);
  f.RequireAsNew();
}

}  // namespace

#endif  // HSHM_UNIT_TESTS_CONTRACT_ARENA_CLAIMS_H_
