/** FindRoot while roots change, in two turns between any two of its instructions. */
#include <cstring>
#include <functional>

#include "backend/probe_allocator.h"
#include "hermes_shm/memory/backend/malloc_backend.h"
#include "support/catch.h"
#include "support/stepped_call.h"

namespace hshm::ipc::test {
namespace {

/** Two roots, of which each has a block. */
class Roots {
 public:
  Roots() {
    backend_.shm_init(MemoryBackendId(1), 1 << 20);
    alloc_ = backend_.MakeAlloc<ProbeAllocator>(AllocatorId(1, 0));
    a_ = alloc_->Allocate<int>(HSHM_DEFAULT_MEM_CTX, 64);
    b_ = alloc_->Allocate<int>(HSHM_DEFAULT_MEM_CTX, 64);
  }

  void OnlyA() { Only("name of a", a_, "name of b"); }
  void OnlyB() { Only("name of b", b_, "name of a"); }
  /** A SetRoot of b begins, and a deleter takes a away under its feet. */
  void BeginToSetB() { header().roots_version_.fetch_add(1); }
  void DeleteAAndEndToSetB() {
    RootEntry& entry = header().roots_[0];
    entry.offset_.store(0);
    std::memcpy(entry.name_, kNameOfB, sizeof(kNameOfB));
    entry.offset_.store(b_.shm_.off_.load());
  }

  /** Instructions of a search that ends at the first entry. */
  uint32_t CountInstructions() {
    OnlyB();
    static_cast<void>(alloc_->FindRoot<int>("name of b"));  // binds symbols
    uint32_t count = 0;
    hshm::test::SteppedCall::Run([&] { static_cast<void>(alloc_->FindRoot<int>("name of b")); },
                                 [&] { return ++count != 0; });
    return count;
  }

  /** Whether FindRoot gives b, or null, when the turns come after so many of its instructions. */
  bool IsFoundRight(uint32_t first, const std::function<void()>& turn, uint32_t second,
                    const std::function<void()>& other_turn) {
    FullPtr<int> found;
    uint32_t count = 0;
    hshm::test::SteppedCall::Run([&] { found = alloc_->FindRoot<int>("name of b"); },
                                 [&] {
                                   if (count == first) turn();
                                   if (count == second) other_turn();
                                   return count++ < second;
                                 });
    return found.IsNull() || found.ptr_ == b_.ptr_;
  }

 private:
  static constexpr char kNameOfB[kMaxRootNameBytes + 1] = "name of b";

  void Only(const char* name, const FullPtr<int>& block, const char* other) {
    alloc_->SetRoot(other, FullPtr<int>());
    alloc_->SetRoot(name, block);
  }
  AllocatorHeader& header() {
    const Region region = backend_.region();
    return *region.At<AllocatorHeader>(AllocatorOffsetFor(region.size_bytes_));
  }

  MallocBackend backend_;
  ProbeAllocator* alloc_;
  FullPtr<int> a_;
  FullPtr<int> b_;
};

TEST_CASE("FindRoot gives what a name stands for when roots change twice, at any two moments") {
  constexpr uint32_t kMostBetween = 60;  // a name is compared meanwhile
  Roots roots;
  const uint32_t instructions = roots.CountInstructions();
  // An instruction takes microseconds here; an entry is looked at in the last of them.
  for (uint32_t first = instructions - kMostBetween; first < instructions; ++first) {
    for (uint32_t second = first; second < first + kMostBetween; second += 2) {
      CAPTURE(first, second);
      roots.OnlyA();
      const bool is_right = roots.IsFoundRight(
          first, [&] { roots.OnlyB(); }, second, [&] { roots.OnlyA(); });
      if (!is_right) FAIL("a block of another name");
    }
  }
}

TEST_CASE("FindRoot gives no deleted block under a name that its entry gets at any moment") {
  Roots roots;
  const uint32_t instructions = roots.CountInstructions();
  for (uint32_t moment = 0; moment < instructions; ++moment) {
    CAPTURE(moment);
    roots.OnlyA();
    roots.BeginToSetB();
    const bool is_right = roots.IsFoundRight(
        moment, [&] { roots.DeleteAAndEndToSetB(); }, moment, [] {});
    REQUIRE(is_right);
  }
}

}  // namespace
}  // namespace hshm::ipc::test
