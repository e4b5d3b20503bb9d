#include <memory>
#include <optional>
#include <thread>
#include <vector>

#include "multi_process/heap.h"
#include "support/child_process.h"

/** Explicit contexts, and the sentences that broken rules end in. */
namespace hshm::test {
namespace {

TEST_CASE("An explicit context serves its thread like the default one") {
  PrivateHeap<MultiProcessAllocator> heap(4 << 20);
  MultiProcessAllocator* alloc = heap.first();
  const MemContext mine = alloc->CreateTls(kCtx);
  REQUIRE(mine.IsValid());
  REQUIRE(alloc->CreateTls(kCtx).tid_ == mine.tid_);
  const OffsetPtr<> a = alloc->AllocateOffset(mine, 100);
  const OffsetPtr<> b = alloc->AllocateOffset(kCtx, 100);
  alloc->FreeOffset(kCtx, a);
  alloc->FreeOffset(mine, b);
  REQUIRE(alloc->GetCurrentlyAllocatedSize() == 0);
  REQUIRE(alloc->Check());
}

TEST_CASE("A context that another thread lends names that thread's heap, not the caller's") {
  PrivateHeap<MultiProcessAllocator> heap(4 << 20);
  MultiProcessAllocator* alloc = heap.first();
  const MemContext mine = alloc->CreateTls(kCtx);
  const OffsetPtr<> first = alloc->AllocateOffset(mine, 1000);
  OffsetPtr<> own;
  OffsetPtr<> lent;
  std::thread thread([&] {  // the lender makes no call meanwhile
    own = alloc->AllocateOffset(kCtx, 1000);
    lent = alloc->AllocateOffset(mine, 1000);
  });
  thread.join();
  constexpr uint64_t kPageBytes = 64 << 10;  // each is one heap's
  REQUIRE(own.load() / kPageBytes != first.load() / kPageBytes);
  REQUIRE(lent.load() / kPageBytes == first.load() / kPageBytes);
}

TEST_CASE("Handles in turn, more than a thread's table has entries, each serve their own region") {
  constexpr uint64_t kHandles = 10;
  std::vector<std::unique_ptr<PrivateHeap<MultiProcessAllocator>>> heaps;
  std::vector<MemContext> contexts;
  for (uint64_t i = 0; i < kHandles; ++i) {
    heaps.push_back(std::make_unique<PrivateHeap<MultiProcessAllocator>>(4 << 20));
    contexts.push_back(heaps[i]->first()->CreateTls(kCtx));
    REQUIRE(contexts[i].pid_ == contexts[0].pid_);  // so that the number alone tells nothing
    REQUIRE(contexts[i].tid_ == contexts[0].tid_);
  }
  for (uint64_t turn = 1; turn <= 6; ++turn) {
    for (uint64_t i = 0; i < kHandles; ++i) {
      MultiProcessAllocator* alloc = heaps[i]->first();
      const MemContext ctx = turn % 2 == 0 ? contexts[i] : kCtx;
      REQUIRE_FALSE(alloc->AllocateOffset(ctx, 100 * (i + 1)).IsNull());
    }
    for (uint64_t i = 0; i < kHandles; ++i) {
      MultiProcessAllocator* alloc = heaps[i]->first();
      const OffsetPtr<> one = alloc->AllocateOffset(kCtx, 100 * (i + 1));
      const uint64_t bytes = alloc->GetUsableSize(one);
      alloc->FreeOffset(contexts[i], one);
      REQUIRE(alloc->GetCurrentlyAllocatedSize() == turn * bytes);
    }
  }
}

TEST_CASE("A heap that FreeTls gave back serves the next thread, and this one anew") {
  PrivateHeap<MultiProcessAllocator> heap(4 << 20);
  MultiProcessAllocator* alloc = heap.first();
  const MemContext first = alloc->CreateTls(kCtx);
  const OffsetPtr<> block = alloc->AllocateOffset(kCtx, 100);
  alloc->FreeTls(first);
  MemContext other;
  MemContext again;
  std::thread thread([&] { other = alloc->CreateTls(kCtx); });
  thread.join();
  REQUIRE(other.tid_ == first.tid_);
  alloc->FreeOffset(kCtx, block);
  again = alloc->CreateTls(kCtx);
  REQUIRE(again.IsValid());
  REQUIRE(alloc->GetCurrentlyAllocatedSize() == 0);
  alloc->FreeTls(again);
  alloc->FreeTls(again);  // a second time nothing happens
  REQUIRE(alloc->Check());
}

TEST_CASE("A context of another process means: find mine") {
  PrivateHeap<MultiProcessAllocator> heap(4 << 20);
  MultiProcessAllocator* a = heap.first();
  MultiProcessAllocator* b = heap.Attach();
  const MemContext of_a = a->CreateTls(kCtx);
  const OffsetPtr<> block = b->AllocateOffset(of_a, 100);
  REQUIRE_FALSE(block.IsNull());
  b->shm_detach();  // deletes what b had allocated, whatever context was named
  REQUIRE(a->GetCurrentlyAllocatedSize() == 0);
  REQUIRE(a->Check());
}

TEST_CASE("A context beyond all heaps means: find mine") {
  PrivateHeap<MultiProcessAllocator> heap(4 << 20);
  MultiProcessAllocator* alloc = heap.first();
  const uint32_t slot = alloc->CreateTls(kCtx).pid_;
  for (uint32_t tid : {1u, 1023u, 1024u, 1u << 30}) {
    const OffsetPtr<> block = alloc->AllocateOffset(MemContext(slot, tid), 100);
    REQUIRE_FALSE(block.IsNull());
    alloc->FreeOffset(MemContext(slot, tid), block);
  }
  REQUIRE(alloc->GetCurrentlyAllocatedSize() == 0);
}

TEST_CASE("A handle attached again serves a thread that remembers its earlier life") {
  PrivateHeap<MultiProcessAllocator> heap(4 << 20);
  MultiProcessAllocator* keeper = heap.first();
  auto handle = std::make_unique<MultiProcessAllocator>();
  for (int life = 0; life < 20; ++life) {
    handle->shm_attach(heap.backend().region());
    const OffsetPtr<> block = handle->AllocateOffset(kCtx, 5000);
    REQUIRE_FALSE(block.IsNull());
    handle->shm_detach();
    REQUIRE(keeper->GetCurrentlyAllocatedSize() == 0);
  }
  REQUIRE(keeper->Check());
}

// ---- broken rules ----------------------------------------------------------------------------

template <typename Body>
void RequireSentence(const std::string& sentence, Body body) {
  const Ending ending = RunInChild(body);
  CAPTURE(sentence, ending.errors_);
  REQUIRE(ending.status_ == -SIGABRT);
  REQUIRE(ending.errors_.find(sentence) != std::string::npos);
}

TEST_CASE("Broken rules end in the defect's own sentence") {
  PrivateHeap<MultiProcessAllocator> heap(8 << 20);
  MultiProcessAllocator* alloc = heap.first();
  const auto number = [](uint64_t offset) { return std::to_string(offset); };
  const auto free_at = [&](uint64_t offset) {
    return [=] { alloc->FreeOffset(kCtx, OffsetPtr<>(offset)); };
  };
  const auto resize_at = [&](uint64_t offset) {
    return [=] { (void)alloc->ReallocateOffset(kCtx, OffsetPtr<>(offset), 10); };
  };
  const std::string region = " bytes.";
  RequireSentence("hshm: NullFree: FreeOffset was given the null offset.", free_at(0));
  for (uint64_t foreign : {uint64_t{64}, uint64_t{8} << 20, uint64_t{1} << 40, ~uint64_t{15}}) {
    const std::string where = " was given offset " + number(foreign) + ", which is not in the data";
    if (foreign < uint64_t{1} << 63) {
      RequireSentence("hshm: ForeignPointer: Free" + where, free_at(foreign));
      RequireSentence("hshm: ForeignPointer: Reallocate" + where, resize_at(foreign));
    } else {
      RequireSentence("hshm: ForeignPointer: Free was given offset -16, ", free_at(foreign));
    }
  }
  for (uint64_t alignment : {uint64_t{0}, uint64_t{3}, uint64_t{48}, ~uint64_t{0}}) {
    RequireSentence("hshm: BadAlignment: AlignedAllocateOffset was asked for alignment " +
                        number(alignment) + ", which is not a power of two.",
                    [&] { (void)alloc->AlignedAllocateOffset(kCtx, 10, alignment); });
  }
  const OffsetPtr<> free_page = alloc->AllocateOffset(kCtx, 300000);
  alloc->FreeOffset(kCtx, free_page);
  RequireSentence(HSHM_CHECKED
                      ? "hshm: DoubleFree: Free was given offset " + number(free_page.load()) +
                            ", a block that is free already."
                      : "hshm: InvalidFree: Free was given offset " + number(free_page.load()) +
                            ", where no allocated block begins.",
                  free_at(free_page.load()));
}

TEST_CASE(
    "A thread that has a heap is told of a null free by its name, whatever context it names") {
  PrivateHeap<MultiProcessAllocator> heap(8 << 20);
  MultiProcessAllocator* alloc = heap.first();
  const OffsetPtr<> theirs = alloc->AllocateOffset(kCtx, 64);
  const bool is_explicit = GENERATE(false, true);
  RequireSentence("hshm: NullFree: FreeOffset was given the null offset.", [&] {
    const MemContext mine = alloc->CreateTls(kCtx);  // as of this child
    alloc->FreeOffset(mine, alloc->AllocateOffset(mine, 64));
    alloc->FreeOffset(mine, theirs);  // a run waits
    alloc->FreeOffset(is_explicit ? mine : kCtx, OffsetPtr<>());
  });
}

TEST_CASE("A call after shm_detach ends in NotAttached") {
  PrivateHeap<MultiProcessAllocator> heap(4 << 20);
  MultiProcessAllocator* alloc = heap.Attach();
  const OffsetPtr<> block = alloc->AllocateOffset(kCtx, 10);
  const MemContext mine = alloc->CreateTls(kCtx);
  alloc->shm_detach();
  const std::string sentence = "on an allocator that is not attached to a region.";
  RequireSentence(sentence, [&] { (void)alloc->AllocateOffset(kCtx, 10); });
  RequireSentence(sentence, [&] { alloc->FreeOffset(kCtx, block); });
  RequireSentence(sentence, [&] { (void)alloc->AllocateOffset(mine, 10); });
  RequireSentence(sentence, [&] { alloc->FreeOffset(mine, block); });
  RequireSentence(sentence, [&] { (void)alloc->ReallocateOffset(kCtx, block, 100); });
  RequireSentence(sentence, [&] { (void)alloc->GetCurrentlyAllocatedSize(); });
  RequireSentence(sentence, [&] { (void)alloc->Check(); });
  RequireSentence(sentence, [&] { (void)alloc->CreateTls(kCtx); });
  RequireSentence(sentence, [&] { alloc->Trim(); });
  MultiProcessAllocator never;
  RequireSentence(sentence, [&] { (void)never.AllocateOffset(kCtx, 10); });
}

TEST_CASE("Offsets inside a run of pages, of another's page, and of large blocks are no blocks") {
  MultiProcessOptions options;
  options.process_unit_bytes_ = 1 << 20;
  PrivateHeap<MultiProcessAllocator> heap(16 << 20, options);
  MultiProcessAllocator* alloc = heap.first();
  MultiProcessAllocator* other = heap.Attach(options);
  const uint64_t run = alloc->AllocateOffset(kCtx, 300000).load();
  const uint64_t large = alloc->AllocateOffset(kCtx, 3 << 20).load();
  const uint64_t small = alloc->AllocateOffset(kCtx, 1000).load();
  const auto free_by = [](MultiProcessAllocator* by, uint64_t offset) {
    return [=] { by->FreeOffset(kCtx, OffsetPtr<>(offset)); };
  };
  for (uint64_t inside : {16, 4096, 65536, 65552, 131072}) {
    CAPTURE(inside);
    RequireSentence("hshm: InvalidFree: ", free_by(alloc, large + inside));
    RequireSentence("hshm: InvalidFree: ", free_by(other, large + inside));
    RequireSentence("hshm: InvalidFree: ", free_by(other, run + inside));
  }
  RequireSentence("hshm: InvalidFree: ", free_by(other, small + 8));
  RequireSentence("hshm: InvalidFree: ", free_by(other, small + 16));
  alloc->FreeOffset(kCtx, OffsetPtr<>(large));
  RequireSentence("hshm: InvalidFree: ", free_by(alloc, large));
  RequireSentence("hshm: InvalidFree: ", free_by(other, large));
  REQUIRE(alloc->Check());
}

}  // namespace
}  // namespace hshm::test
