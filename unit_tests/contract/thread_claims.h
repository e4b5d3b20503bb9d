#ifndef HSHM_UNIT_TESTS_CONTRACT_THREAD_CLAIMS_H_
#define HSHM_UNIT_TESTS_CONTRACT_THREAD_CLAIMS_H_

#include <atomic>
#include <thread>

#include "contract/block_claims.h"

/** What threads and handles of one process that share a region may expect. */
namespace {

/** Blocks on their way from one thread to another, one in each place. */
class Exchange {
 public:
  /** Puts a block (or 0) in a place and takes what was there. */
  uint64_t Swap(uint32_t place, uint64_t offset) {
    // acq_rel: pairs with itself; the block's bytes go along
    return places_[place % kPlaces].exchange(offset, std::memory_order_acq_rel);
  }
  static constexpr uint32_t kPlaces = 61;

 private:
  std::atomic<uint64_t> places_[kPlaces] = {};
};

/** A block of the exchange says at its front how long it is and who wrote it. */
struct Parcel {
  uint64_t size_;
  uint32_t owner_;
};

bool CheckAndFree(Alloc& alloc, uint64_t offset) {
  if (offset == 0) return true;
  char* bytes = alloc.template Convert<char>(OffsetPtr<char>(offset));
  Parcel parcel;
  std::memcpy(&parcel, bytes, sizeof(parcel));
  const bool good = HasPattern(bytes + sizeof(parcel), parcel.size_, parcel.size_, parcel.owner_);
  alloc.FreeOffset(kCtx, OffsetPtr<>(offset));
  return good;
}

/** Allocates, writes, swaps with others, checks and frees what it gets. Number of broken blocks. */
int Trade(Alloc& alloc, Exchange& exchange, uint32_t seed, int steps) {
  std::mt19937 random(seed);
  int broken = 0;
  for (int step = 0; step < steps; ++step) {
    const size_t size = random() % (size_t{1} << random() % 12);
    const OffsetPtr<> got = alloc.AllocateOffset(kCtx, sizeof(Parcel) + size);
    if (!got.IsNull()) {
      char* bytes = alloc.template Convert<char>(OffsetPtr<char>(got.load()));
      const Parcel parcel{size, static_cast<uint32_t>(random())};
      std::memcpy(bytes, &parcel, sizeof(parcel));
      FillPattern(bytes + sizeof(parcel), size, parcel.owner_);
    }
    const uint64_t other = exchange.Swap(static_cast<uint32_t>(random()), got.load());
    if (!CheckAndFree(alloc, other)) ++broken;
  }
  return broken;
}

int TradeInThreads(const std::vector<Alloc*>& allocs, uint32_t seed) {
  Exchange exchange;
  std::atomic<int> broken{0};
  std::vector<std::thread> threads;
  for (size_t i = 0; i < allocs.size(); ++i) {
    threads.emplace_back(
        [&, i] { broken += Trade(*allocs[i], exchange, seed + static_cast<uint32_t>(i), 3000); });
  }
  for (std::thread& thread : threads) thread.join();
  for (uint32_t place = 0; place < Exchange::kPlaces; ++place) {
    if (!CheckAndFree(*allocs[0], exchange.Swap(place, 0))) ++broken;
  }
  return broken;
}

TEST_CASE(HSHM_CONTRACT_NAME " serves several threads on one handle") {
  const uint32_t seed = std::random_device{}();
  WARN("seed " << seed);
  HSHM_CONTRACT_FIXTURE(f);
  REQUIRE(TradeInThreads(std::vector<Alloc*>(4, f.alloc_), seed) == 0);
  f.RequireAsNew();
}

TEST_CASE(HSHM_CONTRACT_NAME " serves several handles, each as a process of its own") {
  const uint32_t seed = std::random_device{}();
  WARN("seed " << seed);
  HSHM_CONTRACT_FIXTURE(f);
  std::vector<Alloc*> handles = {f.alloc_};
  while (handles.size() < 4) handles.push_back(f.backend_->template AttachAlloc<Alloc>());
  REQUIRE(TradeInThreads(handles, seed) == 0);
  f.RequireAsNew();
  for (size_t i = 1; i < handles.size(); ++i) f.backend_->DestroyAlloc(handles[i]);
  REQUIRE(f.alloc_->Check());
}

}  // namespace

#endif  // HSHM_UNIT_TESTS_CONTRACT_THREAD_CLAIMS_H_
