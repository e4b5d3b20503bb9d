#ifndef HSHM_UNIT_TESTS_CONTRACT_BLOCK_CLAIMS_H_
#define HSHM_UNIT_TESTS_CONTRACT_BLOCK_CLAIMS_H_

#include <algorithm>
#include <cstdint>
#include <limits>
#include <stdexcept>

#include "contract/harness.h"
#include "hermes_shm/base/error.h"

/**
 * What one thread may expect of any allocator. Included by contract_suite.h, after the file of one
 * allocator has defined HSHM_CONTRACT_NAME and, in an unnamed namespace, Alloc and Traits.
 */
namespace {

using namespace contract;  // NOLINT: the suite's own names, in one test file
using SuiteFixture = Fixture<Alloc, Traits>;

/** A fixture for each kind of backend in turn. */
#define HSHM_CONTRACT_FIXTURE(name)                                                            \
  const int backend_kind = GENERATE(filter(&Traits::WorksOn, range(0, +TestBackend::kKinds))); \
  CAPTURE(TestBackend::KindName(backend_kind));                                                \
  SuiteFixture name(backend_kind)

constexpr size_t kHuge = std::numeric_limits<size_t>::max();

/** All that the region holds; where it is no limit, as much as it might hold. */
std::vector<OffsetPtr<>> FillUp(Alloc& alloc, size_t size) {
  std::vector<OffsetPtr<>> blocks;
  for (OffsetPtr<> block; !(block = alloc.AllocateOffset(kCtx, size)).IsNull();) {
    blocks.push_back(block);
    if (!Traits::kBlocksLieInRegion && blocks.size() * size > Traits::kRegionBytes) break;
  }
  return blocks;
}

/** Throws from the constructor whose turn it is; counts the living. */
struct Fragile {
  explicit Fragile(int* budget) : budget_(budget) {
    if (*budget == 0) throw std::runtime_error("no budget");
    --*budget;
    ++living_;
  }
  ~Fragile() { --living_; }
  int* budget_;
  static inline int living_ = 0;
};

struct alignas(128) Wide {
  char bytes_[200];
};

TEST_CASE(HSHM_CONTRACT_NAME " aligns blocks of every size to 16 bytes and keeps them apart") {
  HSHM_CONTRACT_FIXTURE(f);
  Shadow shadow;
  std::vector<FullPtr<char>> blocks;
  for (size_t size = 0; size < 700; ++size) {
    blocks.push_back(f.alloc_->Allocate(kCtx, size));
    const FullPtr<char>& block = blocks.back();
    REQUIRE_FALSE(block.IsNull());
    REQUIRE(block.shm_.off_.load() % 16 == 0);
    REQUIRE(reinterpret_cast<uintptr_t>(block.ptr_) % 16 == 0);
    REQUIRE(shadow.Add(block.shm_.off_.load(), {std::max<size_t>(size, 1), 0}));
    FillPattern(block.ptr_, size, static_cast<uint32_t>(size));
  }
  for (size_t size = 0; size < blocks.size(); ++size) {
    REQUIRE(HasPattern(blocks[size].ptr_, size, size, static_cast<uint32_t>(size)));
  }
  REQUIRE(f.alloc_->Check());
  for (const FullPtr<char>& block : blocks) f.alloc_->Free(kCtx, block);
  f.RequireAsNew();
}

TEST_CASE(HSHM_CONTRACT_NAME " gives every request of 0 bytes a block of its own") {
  HSHM_CONTRACT_FIXTURE(f);
  const OffsetPtr<> a = f.alloc_->AllocateOffset(kCtx, 0);
  const OffsetPtr<> b = f.alloc_->AllocateOffset(kCtx, 0);
  REQUIRE_FALSE(a.IsNull());
  REQUIRE_FALSE(b.IsNull());
  REQUIRE_FALSE(a == b);
  f.alloc_->FreeOffset(kCtx, a);
  f.alloc_->FreeOffset(kCtx, b);
  f.RequireAsNew();
}

TEST_CASE(HSHM_CONTRACT_NAME " answers sizes that cannot be with null, and nothing changes") {
  HSHM_CONTRACT_FIXTURE(f);
  const OffsetPtr<> block = f.alloc_->AllocateOffset(kCtx, 100);
  const size_t before = f.alloc_->GetCurrentlyAllocatedSize();
  std::vector<size_t> sizes = {kHuge,     kHuge - 1,     kHuge - 15,     kHuge - 63,
                               kHuge / 2, kHuge / 2 + 1, size_t{1} << 48};
  if (Traits::kBlocksLieInRegion) sizes.push_back(Traits::kRegionBytes);
  for (const size_t size : sizes) {
    CAPTURE(size);
    REQUIRE(f.alloc_->AllocateOffset(kCtx, size).IsNull());
    REQUIRE(f.alloc_->AlignedAllocateOffset(kCtx, size, 4096).IsNull());
    REQUIRE(f.alloc_->ReallocateOffset(kCtx, block, size).IsNull());
    REQUIRE(f.alloc_->ReallocateOffset(kCtx, OffsetPtr<>(), size).IsNull());
  }
  REQUIRE(f.alloc_->AlignedAllocateOffset(kCtx, 16, size_t{1} << 63).IsNull());
  REQUIRE(f.alloc_->AllocateObjs<uint64_t>(kCtx, kHuge / 8 + 1).IsNull());
  REQUIRE(f.alloc_->AllocateObjs<Wide>(kCtx, kHuge / 100).IsNull());
  const auto numbers = f.alloc_->AllocateObjs<uint64_t>(kCtx, 4);
  REQUIRE(f.alloc_->ReallocateObjs<uint64_t>(kCtx, numbers, kHuge / 8 + 1).IsNull());
  f.alloc_->Free(kCtx, numbers);
  REQUIRE(f.alloc_->GetCurrentlyAllocatedSize() == before);
  f.alloc_->FreeOffset(kCtx, block);
  f.RequireAsNew();
}

TEST_CASE(HSHM_CONTRACT_NAME " makes and deletes typed objects, over-aligned ones too") {
  HSHM_CONTRACT_FIXTURE(f);
  const auto number = f.alloc_->NewObj<uint64_t>(kCtx, 42u);
  REQUIRE(*number == 42);
  const auto text = f.alloc_->NewObjs<std::string>(kCtx, 3, "a string that is not short at all");
  REQUIRE(text.ptr_[2] == "a string that is not short at all");
  const auto wide = f.alloc_->AllocateObjs<Wide>(kCtx, 5);
  REQUIRE(reinterpret_cast<uintptr_t>(wide.ptr_) % 128 == 0);
  f.alloc_->DelObjs(kCtx, text, 3);
  f.alloc_->DelObj(kCtx, number);
  f.alloc_->Free(kCtx, wide);
  f.RequireAsNew();
}

TEST_CASE(HSHM_CONTRACT_NAME " undoes NewObjs when a constructor throws") {
  HSHM_CONTRACT_FIXTURE(f);
  int budget = 2;
  Fragile::living_ = 0;
  REQUIRE_THROWS_AS((void)f.alloc_->NewObjs<Fragile>(kCtx, 3, &budget), std::runtime_error);
  REQUIRE(Fragile::living_ == 0);
  f.RequireAsNew();
}

TEST_CASE(HSHM_CONTRACT_NAME " keeps the bytes of a block that grows and shrinks") {
  HSHM_CONTRACT_FIXTURE(f);
  FullPtr<char> block = f.alloc_->Reallocate(kCtx, FullPtr<char>(), 10);
  REQUIRE_FALSE(block.IsNull());
  FillPattern(block.ptr_, 10, 10);
  size_t last = 10;
  std::vector<FullPtr<char>> obstacles;
  for (size_t size : {30, 64, 65, 3000, 100, 100000, 16, 0, 1, 70000, 200000, 5}) {
    CAPTURE(last, size);
    if (size % 2 == 1) obstacles.push_back(f.alloc_->Allocate(kCtx, 40));  // must move now
    block = f.alloc_->Reallocate(kCtx, block, size);
    REQUIRE_FALSE(block.IsNull());
    REQUIRE(HasPattern(block.ptr_, last, std::min(last, size), static_cast<uint32_t>(last)));
    FillPattern(block.ptr_, size, static_cast<uint32_t>(size));
    last = size;
    REQUIRE(f.alloc_->Check());
  }
  f.alloc_->Free(kCtx, block);
  for (const auto& obstacle : obstacles) f.alloc_->Free(kCtx, obstacle);
  f.RequireAsNew();
}

TEST_CASE(HSHM_CONTRACT_NAME " aligns to every power of two up to an eighth of the region") {
  HSHM_CONTRACT_FIXTURE(f);
  std::vector<FullPtr<char>> blocks;
  Shadow shadow;
  for (size_t alignment = 1; alignment <= Traits::kRegionBytes / 8; alignment *= 2) {
    for (size_t size : {size_t{1}, size_t{100}, std::min<size_t>(alignment, 5000)}) {
      CAPTURE(alignment, size);
      blocks.push_back(f.alloc_->AlignedAllocate(kCtx, size, alignment));
      const FullPtr<char>& block = blocks.back();
      if (block.IsNull()) {  // it may be full by now, but not when it is empty
        blocks.pop_back();
        for (const auto& b : blocks) f.alloc_->Free(kCtx, b);
        blocks = {f.alloc_->AlignedAllocate(kCtx, size, alignment)};
        shadow = Shadow();
        REQUIRE_FALSE(blocks.back().IsNull());
      }
      const auto address = reinterpret_cast<uintptr_t>(blocks.back().ptr_);
      if (Traits::kBlocksLieInRegion) {
        REQUIRE(blocks.back().shm_.off_.load() % alignment == 0);
        REQUIRE(address % std::min<size_t>(alignment, 4096) == 0);  // as the regions are
      } else {
        REQUIRE(address % alignment == 0);
      }
      REQUIRE(shadow.Add(blocks.back().shm_.off_.load(), {size, 0}));
      std::memset(blocks.back().ptr_, 0x5a, size);
    }
  }
  REQUIRE(f.alloc_->Check());
  for (const FullPtr<char>& block : blocks) f.alloc_->Free(kCtx, block);
  f.RequireAsNew();
}

TEST_CASE(HSHM_CONTRACT_NAME " keeps a zeroed custom header, aligned to 64 bytes") {
  HSHM_CONTRACT_FIXTURE(f);
  struct Header {
    uint64_t words_[32];
  };
  auto* header = f.alloc_->template GetCustomHeader<Header>();
  REQUIRE(reinterpret_cast<uintptr_t>(header) % 64 == 0);
  for (uint64_t word : header->words_) REQUIRE(word == 0);
  for (uint64_t& word : header->words_) word = ~uint64_t{0};
  const auto blocks = FillUp(*f.alloc_, 5000);
  for (OffsetPtr<> block : blocks) std::memset(f.alloc_->Convert(block), 0, 5000);
  for (uint64_t word : header->words_) REQUIRE(word == ~uint64_t{0});
  struct Larger {
    char bytes_[257];
  };
  REQUIRE_THROWS_AS(f.alloc_->template GetCustomHeader<Larger>(), hshm::Error);
  for (OffsetPtr<> block : blocks) f.alloc_->FreeOffset(kCtx, block);
  f.RequireAsNew();
}

TEST_CASE(HSHM_CONTRACT_NAME " finds by name what was left under it") {
  HSHM_CONTRACT_FIXTURE(f);
  const auto number = f.alloc_->template NewObj<int>(kCtx, 5);
  REQUIRE(f.alloc_->template FindRoot<int>("number").IsNull());
  REQUIRE(f.alloc_->SetRoot("number", number));
  REQUIRE(f.alloc_->template FindRoot<int>("number") == number);
  REQUIRE(f.alloc_->SetRoot("number", FullPtr<int>()));
  REQUIRE(f.alloc_->template FindRoot<int>("number").IsNull());
  f.alloc_->DelObj(kCtx, number);
  f.RequireAsNew();
}

TEST_CASE(HSHM_CONTRACT_NAME " converts addresses to offsets and back, and knows its own") {
  HSHM_CONTRACT_FIXTURE(f);
  const FullPtr<int> block = f.alloc_->template Allocate<int>(kCtx, 64);
  const OffsetPtr<int> offset = f.alloc_->ToOffset(block.ptr_);
  REQUIRE(offset.load() == block.shm_.off_.load());
  REQUIRE(f.alloc_->Convert(offset) == block.ptr_);
  REQUIRE(f.alloc_->Convert(block.shm_) == block.ptr_);
  REQUIRE(FullPtr<int>(f.alloc_, offset) == block);
  REQUIRE(f.alloc_->Convert(OffsetPtr<int>()) == nullptr);
  REQUIRE(f.alloc_->ToOffset(static_cast<int*>(nullptr)).IsNull());
  REQUIRE(f.alloc_->Contains(block.ptr_));
  REQUIRE(f.alloc_->Contains(offset));
  int on_stack = 0;
  REQUIRE_FALSE(f.alloc_->Contains(&on_stack));
  REQUIRE_FALSE(f.alloc_->Contains(OffsetPtr<int>(Traits::kRegionBytes)));
  REQUIRE_FALSE(f.alloc_->Contains(OffsetPtr<int>()));
  f.alloc_->Free(kCtx, block.shm_);
  f.RequireAsNew();
}

TEST_CASE(HSHM_CONTRACT_NAME " takes an explicit context like its own") {
  HSHM_CONTRACT_FIXTURE(f);
  const MemContext mine = f.alloc_->CreateTls(kCtx);
  REQUIRE(mine.IsValid());
  const auto block = f.alloc_->Allocate(mine, 100);
  REQUIRE_FALSE(block.IsNull());
  f.alloc_->Free(mine, block);
  f.alloc_->FreeTls(mine);
  f.RequireAsNew();
}

/** One operation of the random test. False when something was not as it must be. */
class RandomUser {
 public:
  RandomUser(Alloc* alloc, uint32_t seed) : alloc_(alloc), random_(seed) {}

  bool Step() {
    const uint32_t what = static_cast<uint32_t>(random_() % 10);
    if (what < 4 || shadow_.size() == 0) return Add();
    const auto it = shadow_.At(random_() % shadow_.size());
    const Offset offset = it->first;
    const Block block = it->second;
    char* bytes = alloc_->template Convert<char>(OffsetPtr<char>(offset));
    if (!HasPattern(bytes, block.size_, block.size_, block.owner_)) return false;
    return what < 6 ? Resize(offset, block) : Remove(offset);
  }
  bool FreeAll() {
    while (shadow_.size() != 0) Remove(shadow_.At(0)->first);
    return true;
  }

 private:
  size_t Size() {
    const uint32_t bits = static_cast<uint32_t>(random_() % 16);
    return random_() % ((size_t{1} << bits) + 1);
  }
  bool Keep(OffsetPtr<> got, size_t size) {
    const Block block{size, ++owner_};
    FillPattern(alloc_->template Convert<char>(OffsetPtr<char>(got.load())), size, block.owner_);
    return shadow_.Add(got.load(), block);
  }
  bool Add() {
    const size_t size = Size();
    const size_t alignment = size_t{1} << random_() % 13;
    const OffsetPtr<> got = random_() % 4 == 0
                                ? alloc_->AlignedAllocateOffset(kCtx, size, alignment)
                                : alloc_->AllocateOffset(kCtx, size);
    return got.IsNull() ? FreeAll() : Keep(got, size);
  }
  bool Resize(Offset offset, Block block) {
    const size_t size = Size();
    const OffsetPtr<> got = alloc_->ReallocateOffset(kCtx, OffsetPtr<>(offset), size);
    const OffsetPtr<> now = got.IsNull() ? OffsetPtr<>(offset) : got;
    const size_t kept = got.IsNull() ? block.size_ : std::min(size, block.size_);
    const char* bytes = alloc_->template Convert<char>(OffsetPtr<char>(now.load()));
    if (!HasPattern(bytes, block.size_, kept, block.owner_)) return false;
    if (got.IsNull()) return true;
    shadow_.Remove(offset);
    return Keep(got, size);
  }
  bool Remove(Offset offset) {
    shadow_.Remove(offset);
    alloc_->FreeOffset(kCtx, OffsetPtr<>(offset));
    return true;
  }

  Alloc* alloc_;
  std::mt19937 random_;
  Shadow shadow_;
  uint32_t owner_ = 0;
};

TEST_CASE(HSHM_CONTRACT_NAME " agrees with a shadow map in random operations") {
  const uint32_t seed = std::random_device{}();
  WARN("seed " << seed);
  HSHM_CONTRACT_FIXTURE(f);
  RandomUser user(f.alloc_, seed);
  for (int step = 0; step < 5000; ++step) {
    CAPTURE(step);
    REQUIRE(user.Step());
    if (step % 500 == 0) REQUIRE(f.alloc_->Check());
  }
  REQUIRE(f.alloc_->Check());
  user.FreeAll();
  f.RequireAsNew();
}

}  // namespace

#endif  // HSHM_UNIT_TESTS_CONTRACT_BLOCK_CLAIMS_H_
