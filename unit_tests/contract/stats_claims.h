#ifndef HSHM_UNIT_TESTS_CONTRACT_STATS_CLAIMS_H_
#define HSHM_UNIT_TESTS_CONTRACT_STATS_CLAIMS_H_

#include <atomic>
#include <cstdio>
#include <thread>

#include "contract/block_claims.h"
#include "hermes_shm/memory/allocator/allocator_stats.h"

/** What statistics say, on any allocator. */
namespace {

using hshm::ipc::AllocatorStats;
using hshm::ipc::RankStats;
using hshm::ipc::SizeClassStats;

/** What holds on every allocator at any quiet moment. */
void RequireSound(Alloc& alloc, const AllocatorStats& stats) {
  REQUIRE(stats.is_complete_);
  REQUIRE(stats.live_bytes_ == alloc.GetCurrentlyAllocatedSize());
  REQUIRE(stats.region_bytes_ == Traits::kRegionBytes);
  REQUIRE(stats.largest_free_bytes_ <= std::max(stats.free_bytes_, uint64_t{1}));
  REQUIRE(stats.Fragmentation() >= 0);
  REQUIRE(stats.Fragmentation() <= 1);
  if (!Traits::kBlocksLieInRegion) return;
  REQUIRE(stats.capacity_bytes_ > Traits::kRegionBytes / 2);
  REQUIRE(stats.capacity_bytes_ < Traits::kRegionBytes);
  REQUIRE(stats.committed_bytes_ <= stats.capacity_bytes_);
  REQUIRE(stats.live_bytes_ <= stats.committed_bytes_);
  REQUIRE(stats.live_bytes_ + stats.free_bytes_ <= stats.capacity_bytes_);
  REQUIRE(stats.live_bytes_ <= stats.peak_bytes_);
  uint64_t blocks = 0;
  for (const SizeClassStats& one : stats.classes_) blocks += one.live_blocks_;
  REQUIRE(blocks <= stats.live_blocks_);
}

TEST_CASE(HSHM_CONTRACT_NAME " counts what is live, free and at its peak") {
  HSHM_CONTRACT_FIXTURE(f);
  const AllocatorStats empty = f.alloc_->GetStats();
  RequireSound(*f.alloc_, empty);
  REQUIRE(empty.live_blocks_ == 0);
  std::vector<OffsetPtr<>> blocks;
  for (size_t i = 0; i < 300; ++i) {
    blocks.push_back(f.alloc_->AllocateOffset(kCtx, i < 299 ? 1000 : 200000));
    REQUIRE_FALSE(blocks.back().IsNull());
  }
  const AllocatorStats full = f.alloc_->GetStats();
  RequireSound(*f.alloc_, full);
  REQUIRE(full.live_bytes_ >= 499000);
  if (Traits::kBlocksLieInRegion) {
    REQUIRE(full.live_blocks_ == 300);
    REQUIRE(full.free_bytes_ < empty.free_bytes_);
  }
  for (size_t i = 0; i < 300; i += 2) f.alloc_->FreeOffset(kCtx, blocks[i]);
  const AllocatorStats half = f.alloc_->GetStats();
  RequireSound(*f.alloc_, half);
  if (Traits::kBlocksLieInRegion) REQUIRE(half.live_blocks_ == 150);
  for (size_t i = 1; i < 300; i += 2) f.alloc_->FreeOffset(kCtx, blocks[i]);
  const AllocatorStats again = f.alloc_->GetStats();
  RequireSound(*f.alloc_, again);
  REQUIRE(again.live_blocks_ == 0);
  REQUIRE(again.live_bytes_ == empty.live_bytes_);
  REQUIRE(again.peak_bytes_ >= full.peak_bytes_);
  f.RequireAsNew();
}

TEST_CASE(HSHM_CONTRACT_NAME " tells how long the longest stretch of free memory is") {
  if (!Traits::kBlocksLieInRegion) return;
  HSHM_CONTRACT_FIXTURE(f);
  std::vector<OffsetPtr<>> blocks = FillUp(*f.alloc_, 20000);
  const AllocatorStats full = f.alloc_->GetStats();
  RequireSound(*f.alloc_, full);
  REQUIRE(full.largest_free_bytes_ < 20000 + 65536);
  for (size_t i = 0; i < blocks.size() / 2; ++i) f.alloc_->FreeOffset(kCtx, blocks[i]);
  const AllocatorStats half = f.alloc_->GetStats();
  RequireSound(*f.alloc_, half);
  if (Traits::kReusesEveryBlock) {
    REQUIRE(half.largest_free_bytes_ > full.largest_free_bytes_ + 100000);
  }
  for (size_t i = blocks.size() / 2; i < blocks.size(); ++i) f.alloc_->FreeOffset(kCtx, blocks[i]);
  f.RequireAsNew();
}

TEST_CASE(HSHM_CONTRACT_NAME " lists the processes that are attached") {
  HSHM_CONTRACT_FIXTURE(f);
  Alloc* other = f.backend_->template AttachAlloc<Alloc>();
  const AllocatorStats two = f.alloc_->GetStats();
  REQUIRE(two.ranks_.size() == 2);
  for (const RankStats& rank : two.ranks_) {
    REQUIRE(rank.is_alive_);
    REQUIRE(rank.os_pid_ == static_cast<uint32_t>(getpid()));
  }
  other->shm_detach();
  const AllocatorStats one = f.alloc_->GetStats();
  REQUIRE(one.ranks_.size() == 1);
  REQUIRE(one.ranks_[0].slot_ == f.alloc_->GetMembership().slot());
}

TEST_CASE(HSHM_CONTRACT_NAME " says the same as JSON, which python3 reads, and as text") {
  HSHM_CONTRACT_FIXTURE(f);
  const auto block = f.alloc_->AllocateOffset(kCtx, 3000);
  const AllocatorStats stats = f.alloc_->GetStats();
  const std::string script =
      "import json, sys\n"
      "s = json.load(sys.stdin)\n"
      "assert s['live_bytes'] == " +
      std::to_string(stats.live_bytes_) +
      "\n"
      "assert s['allocator'] == '" +
      stats.allocator_ +
      "'\n"
      "assert s['is_complete'] is True and 0 <= s['fragmentation'] <= 1\n"
      "assert len(s['classes']) == " +
      std::to_string(stats.classes_.size()) +
      "\n"
      "assert sum(c['live_blocks'] for c in s['classes']) <= s['live_blocks']\n"
      "assert [r['os_pid'] for r in s['ranks']] == [" +
      std::to_string(getpid()) + "]\n";
  FILE* python = popen(("python3 -c \"" + script + "\"").c_str(), "w");
  REQUIRE(python != nullptr);
  const std::string json = stats.ToJson();
  REQUIRE(std::fwrite(json.data(), 1, json.size(), python) == json.size());
  CAPTURE(json);
  REQUIRE(pclose(python) == 0);
  const std::string text = stats.ToText();
  REQUIRE(text.find(stats.allocator_) == 0);
  REQUIRE(text.find("fragmentation") != std::string::npos);
  f.alloc_->FreeOffset(kCtx, block);
}

TEST_CASE(HSHM_CONTRACT_NAME " counts while others work, and survives it") {
  HSHM_CONTRACT_FIXTURE(f);
  std::atomic<bool> is_over{false};
  std::thread worker([&] {
    std::mt19937 random(1);
    std::vector<OffsetPtr<>> mine(64);
    for (int step = 0; step < 20000; ++step) {
      OffsetPtr<>& place = mine[random() % mine.size()];
      if (place.IsNull()) {
        place = f.alloc_->AllocateOffset(kCtx, random() % (size_t{1} << random() % 15));
      } else {
        f.alloc_->FreeOffset(kCtx, place);
        place = OffsetPtr<>();
      }
    }
    for (OffsetPtr<> block : mine) {
      if (!block.IsNull()) f.alloc_->FreeOffset(kCtx, block);
    }
    is_over = true;
  });
  while (!is_over) {
    const AllocatorStats stats = f.alloc_->GetStats();
    if (stats.free_bytes_ > 2 * Traits::kRegionBytes) break;
  }
  const bool is_sane = f.alloc_->GetStats().free_bytes_ <= 2 * Traits::kRegionBytes;
  worker.join();
  REQUIRE(is_sane);
  f.RequireAsNew();
}

}  // namespace

#endif  // HSHM_UNIT_TESTS_CONTRACT_STATS_CLAIMS_H_
