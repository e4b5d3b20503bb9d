#ifndef HSHM_UNIT_TESTS_DATA_STRUCTURES_STORE_CUTS_H_
#define HSHM_UNIT_TESTS_DATA_STRUCTURES_STORE_CUTS_H_

#include <sys/mman.h>

#include <bit>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <vector>

#include "crash/store_tracer.h"
#include "data_structures/test_allocator.h"
#include "support/child_process.h"

namespace hshm::test {

/**
 * Slots of one size and a word that says which are taken, all in the region: an allocation and a
 * free are one store each. So a death leaves a block taken or free, and what it loses is what the
 * structure under test loses.
 */
class SlotAllocator {
 public:
  static constexpr uint64_t kSlotBytes = 1024;
  static constexpr uint64_t kFrontBytes = 4096;
  static constexpr uint64_t kRegionBytes = kFrontBytes + 64 * kSlotBytes;

  /** slot: who the caller is for the locks in the region; every other one is dead. */
  SlotAllocator(char* region, uint32_t slot) : region_{region, kRegionBytes, nullptr} {
    peers_.slot_ = slot;
    peers_.dead_slot_.store(1 - slot);
  }

  const ipc::Region& GetRegion() const noexcept { return region_; }
  ScriptedPeers& GetMembership() noexcept { return peers_; }
  ipc::OffsetPtr<> AllocateOffset(const ipc::MemContext&, uint64_t bytes) noexcept {
    if (bytes > kSlotBytes || Taken() == ~uint64_t{0}) return ipc::OffsetPtr<>();
    const uint64_t free = static_cast<uint64_t>(std::countr_one(Taken()));
    Taken() |= uint64_t{1} << free;
    return ipc::OffsetPtr<>(kFrontBytes + free * kSlotBytes);
  }
  ipc::OffsetPtr<> AlignedAllocateOffset(const ipc::MemContext& ctx, uint64_t bytes,
                                         uint64_t) noexcept {
    return AllocateOffset(ctx, bytes);
  }
  void FreeOffsetNoNullCheck(const ipc::MemContext&, ipc::OffsetPtr<> offset) noexcept {
    const uint64_t bit = uint64_t{1} << ((offset.load() - kFrontBytes) / kSlotBytes);
    HSHM_CHECK((Taken() & bit) != 0);
    Taken() &= ~bit;
  }
  size_t GetCurrentlyAllocatedSize() noexcept { return live_blocks() * kSlotBytes; }
  uint64_t live_blocks() noexcept { return static_cast<uint64_t>(std::popcount(Taken())); }

  /** The first block that is allocated: the structure's header. */
  static ipc::OffsetPtr<> First() { return ipc::OffsetPtr<>(kFrontBytes); }

 private:
  uint64_t& Taken() noexcept { return *region_.At<uint64_t>(64); }

  ipc::Region region_;
  ScriptedPeers peers_;
};

/** The bytes of a SlotAllocator's region, at an address of their own. Shared memory, since a futex
 * can wait there while a tracer has made it read-only. */
class SlotMemory {
 public:
  SlotMemory() {
    void* memory = mmap(nullptr, SlotAllocator::kRegionBytes, PROT_READ | PROT_WRITE,
                        MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED) std::abort();
    base_ = static_cast<char*>(memory);
  }
  ~SlotMemory() { munmap(base_, SlotAllocator::kRegionBytes); }
  SlotMemory(const SlotMemory&) = delete;
  SlotMemory& operator=(const SlotMemory&) = delete;

  char* base() const { return base_; }

 private:
  char* base_;
};

/**
 * Runs an operation in a child that logs each of its stores, and hands the region as it was before
 * the first, after each, and so at every place where a death can cut it, to verify(memory).
 * @return how many images that were; 0 when the operation did not come to its end
 */
inline uint32_t ForEachCut(const char* start, const std::function<void(SlotAllocator&)>& operation,
                           const std::function<void(const SlotMemory&)>& verify) {
  ipc::crash::TraceLog log(SlotAllocator::kRegionBytes);
  log.SetBase(start);
  log.BeginPhase("operation", {}, 0);
  ChildProcess child([&] {
    const SlotMemory memory;
    std::memcpy(memory.base(), start, SlotAllocator::kRegionBytes);
    SlotAllocator alloc(memory.base(), 0);
    ipc::crash::StoreTracer tracer(memory.base(), SlotAllocator::kRegionBytes, &log);
    tracer.Start();
    operation(alloc);
    tracer.Stop();
    log.SetFinished();
    return 0;
  });
  if (child.Wait() != 0 || !log.IsFinished() || log.IsTruncated()) return 0;
  std::vector<char> image(start, start + SlotAllocator::kRegionBytes);
  for (uint32_t i = 0;; ++i) {
    const SlotMemory memory;
    std::memcpy(memory.base(), image.data(), image.size());
    verify(memory);
    if (i == log.image_count()) return i + 1;
    for (uint32_t c = log.FirstChange(i); c < log.image(i).change_end_; ++c) {
      const ipc::crash::WordChange& change = log.change(c);
      std::memcpy(image.data() + change.word_ * sizeof(uint64_t), &change.value_, sizeof(uint64_t));
    }
  }
}

/** 24 bytes: no store writes all of it, so a torn one would show. */
struct Wide {
  uint64_t value_;
  uint64_t twice_;
  uint64_t negated_;
  Wide() : Wide(0) {}
  explicit Wide(uint64_t value) : value_(value), twice_(2 * value), negated_(~value) {}
  bool IsWhole() const { return twice_ == 2 * value_ && negated_ == ~value_; }
};

}  // namespace hshm::test

#endif  // HSHM_UNIT_TESTS_DATA_STRUCTURES_STORE_CUTS_H_
