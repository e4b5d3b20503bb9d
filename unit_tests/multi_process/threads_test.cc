#include <atomic>
#include <memory>
#include <random>
#include <thread>

#include "multi_process/heap.h"
#include "support/seed.h"

/** Threads of one process: exchange of blocks, their heaps' lives, explicit contexts. */
namespace hshm::test {
namespace {

constexpr uint64_t kRegion = 16 << 20;

/** At the front of a block that changes hands. */
struct Parcel {
  uint64_t offset_;
  uint64_t size_;
  uint64_t owner_;
};

/** A queue from one thread to the next, of a fixed length; full and empty are answers. */
class Lane {
 public:
  bool Put(uint64_t block) {
    const uint32_t tail = tail_.load(std::memory_order_relaxed);  // relaxed: one writer
    if (tail - head_.load(std::memory_order_acquire) == kLength) return false;  // pairs with Take
    blocks_[tail % kLength] = block;
    tail_.store(tail + 1, std::memory_order_release);  // pairs with Take
    return true;
  }
  uint64_t Take() {
    const uint32_t head = head_.load(std::memory_order_relaxed);  // relaxed: one writer
    if (head == tail_.load(std::memory_order_acquire)) return 0;  // pairs with Put
    const uint64_t block = blocks_[head % kLength];
    head_.store(head + 1, std::memory_order_release);  // pairs with Put
    return block;
  }

 private:
  static constexpr uint32_t kLength = 256;
  uint64_t blocks_[kLength];
  std::atomic<uint32_t> head_{0};
  std::atomic<uint32_t> tail_{0};
};

constexpr int kThreads = 4;

/** Allocates for the next thread and frees what comes from the one before. */
class Trader {
 public:
  Trader(MultiProcessAllocator* alloc, Lane* in, Lane* out, uint64_t seed)
      : alloc_(alloc), in_(in), out_(out), random_(seed) {}

  void Run(int blocks) {
    for (int i = 0; i < blocks; ++i) {
      Send();
      Receive();
      if (i % 7 == 0) Receive();
    }
  }
  void Receive() {
    const uint64_t block = in_->Take();
    if (block != 0) Open(block);
  }
  int broken() const { return broken_; }

 private:
  void Send() {
    const uint64_t size = random_() % (random_() % 20 == 0 ? 100000 : 700);
    const OffsetPtr<> block = alloc_->AllocateOffset(kCtx, sizeof(Parcel) + size);
    if (block.IsNull()) return;
    char* bytes = BytesOf(alloc_, block);
    const Parcel parcel{block.load(), size, random_()};
    std::memcpy(bytes, &parcel, sizeof(parcel));
    FillPattern(bytes + sizeof(parcel), size, parcel.owner_);
    if (!out_->Put(block.load())) Open(block.load());
  }
  void Open(uint64_t block) {
    const char* bytes = BytesOf(alloc_, OffsetPtr<>(block));
    Parcel parcel;
    std::memcpy(&parcel, bytes, sizeof(parcel));
    const bool is_good = parcel.offset_ == block && HasPattern(bytes + sizeof(parcel), parcel.size_,
                                                               parcel.size_, parcel.owner_);
    if (!is_good) ++broken_;
    alloc_->FreeOffset(kCtx, OffsetPtr<>(block));
  }

  MultiProcessAllocator* alloc_;
  Lane* in_;
  Lane* out_;
  std::mt19937_64 random_;
  int broken_ = 0;
};

/** One thread a handle; afterwards everything is free again. */
void TradeInARing(const std::vector<MultiProcessAllocator*>& handles, uint64_t seed) {
  CAPTURE(seed);
  Lane lanes[kThreads];
  std::vector<std::unique_ptr<Trader>> traders;
  std::vector<std::thread> threads;
  for (int i = 0; i < kThreads; ++i) {
    traders.push_back(std::make_unique<Trader>(handles[static_cast<size_t>(i)], &lanes[i],
                                               &lanes[(i + 1) % kThreads],
                                               seed + static_cast<uint64_t>(i)));
    threads.emplace_back([trader = traders.back().get()] { trader->Run(20000); });
  }
  for (std::thread& thread : threads) thread.join();
  for (auto& trader : traders) {
    for (int i = 0; i < 1000; ++i) trader->Receive();
    REQUIRE(trader->broken() == 0);
  }
  for (MultiProcessAllocator* alloc : handles) REQUIRE(alloc->Check());
  REQUIRE(handles[0]->GetCurrentlyAllocatedSize() == 0);
}

TEST_CASE("Threads of one process hand blocks on in a ring") {
  const uint64_t seed = PrintedSeed("ring of threads");
  PrivateHeap<MultiProcessAllocator> heap(kRegion);
  TradeInARing(std::vector<MultiProcessAllocator*>(kThreads, heap.first()), seed);
}

TEST_CASE("Threads of several processes hand blocks on in a ring") {
  const uint64_t seed = PrintedSeed("ring of handles");
  PrivateHeap<MultiProcessAllocator> heap(kRegion);
  TradeInARing({heap.first(), heap.Attach(), heap.Attach(), heap.first()}, seed);
}

TEST_CASE("Threads hand blocks on in a ring of a region that is too small for them") {
  const uint64_t seed = PrintedSeed("ring in a small region");
  PrivateHeap<MultiProcessAllocator> heap(3 << 20);
  TradeInARing({heap.first(), heap.first(), heap.first(), heap.Attach()}, seed);
}

TEST_CASE("Ten thousand short threads leave nothing behind and share a few heaps") {
  PrivateHeap<MultiProcessAllocator> heap(kRegion);
  MultiProcessAllocator* alloc = heap.first();
  const uint64_t largest = LargestBlock(alloc, 65536);
  uint32_t highest = 0;
  for (int i = 0; i < 10000; ++i) {
    MemContext ctx;
    std::thread([&] {
      ctx = alloc->CreateTls(kCtx);
      const OffsetPtr<> block = alloc->AllocateOffset(kCtx, 100);
      const OffsetPtr<> large = alloc->AllocateOffset(kCtx, 200000);
      alloc->FreeOffset(kCtx, block);
      alloc->FreeOffset(kCtx, large);
    }).join();
    REQUIRE(ctx.IsValid());
    highest = std::max(highest, ctx.tid_);
  }
  REQUIRE(highest <= 1);  // one heap is this thread's
  REQUIRE(alloc->GetCurrentlyAllocatedSize() == 0);
  alloc->Trim();
  REQUIRE(LargestBlock(alloc, 65536) >= largest - 65536);  // a page of the second heap's record
  REQUIRE(alloc->Check());
}

TEST_CASE(
    "A block outlives the thread that allocated it, and the next thread frees it as its own") {
  PrivateHeap<MultiProcessAllocator> heap(kRegion);
  MultiProcessAllocator* alloc = heap.first();
  std::vector<OffsetPtr<>> blocks;
  std::thread([&] {
    for (uint64_t i = 0; i < 2000; ++i) {
      blocks.push_back(alloc->AllocateOffset(kCtx, i));
      FillPattern(BytesOf(alloc, blocks.back()), i, i);
    }
  }).join();
  std::thread([&] {
    for (uint64_t i = 0; i < 2000; i += 2) alloc->FreeOffset(kCtx, blocks[i]);
  }).join();
  for (uint64_t i = 1; i < 2000; i += 2) {
    REQUIRE(HasPattern(BytesOf(alloc, blocks[i]), i, i, i));
    alloc->FreeOffset(kCtx, blocks[i]);
  }
  REQUIRE(alloc->GetCurrentlyAllocatedSize() == 0);
  REQUIRE(alloc->Check());
}

TEST_CASE("Threads beyond the number of heaps get null, free all the same, and have room later") {
  PrivateHeap<SmallMultiProcessAllocator> heap(8 << 20);
  SmallMultiProcessAllocator* alloc = heap.first();
  constexpr int kMany = ipc::multi_process::kMaxThreads + 20;
  std::vector<OffsetPtr<>> blocks;
  for (int i = 0; i < kMany; ++i) blocks.push_back(alloc->AllocateOffset(kCtx, 64));
  std::atomic<int> with_heap{0};
  std::atomic<int> arrived{0};
  std::atomic<bool> go{false};
  std::vector<std::thread> threads;
  for (int i = 0; i < kMany; ++i) {
    threads.emplace_back([&, i] {
      const OffsetPtr<> own = alloc->AllocateOffset(kCtx, 64);
      if (!own.IsNull()) ++with_heap;
      ++arrived;
      arrived.notify_all();
      go.wait(false);
      if (!own.IsNull()) alloc->FreeOffset(kCtx, own);
      alloc->FreeOffset(kCtx, blocks[static_cast<size_t>(i)]);
    });
  }
  for (int now = arrived.load(); now < kMany; now = arrived.load()) arrived.wait(now);
  go.store(true);
  go.notify_all();
  for (std::thread& thread : threads) thread.join();
  REQUIRE(with_heap.load() == ipc::multi_process::kMaxThreads - 1);
  REQUIRE(alloc->GetCurrentlyAllocatedSize() == 0);
  REQUIRE(alloc->Check());
  std::thread([&] {
    const OffsetPtr<> block = alloc->AllocateOffset(kCtx, 64);
    REQUIRE_FALSE(block.IsNull());
    alloc->FreeOffset(kCtx, block);
  }).join();
}

}  // namespace
}  // namespace hshm::test
