#ifndef HSHM_UNIT_TESTS_DATA_STRUCTURES_TEST_ALLOCATOR_H_
#define HSHM_UNIT_TESTS_DATA_STRUCTURES_TEST_ALLOCATOR_H_

#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include "hermes_shm/base/check.h"
#include "hermes_shm/intrusive/offset_ptr.h"
#include "hermes_shm/memory/backend/region.h"
#include "hermes_shm/sync/lock_identity.h"

namespace hshm::test {

/** A process slot that a test lets die by a word. */
class ScriptedPeers final : public LockPeers {
 public:
  bool IsDead(uint32_t slot, uint32_t) noexcept override {
    if (when_asked_) std::exchange(when_asked_, nullptr)();
    return slot == dead_slot_.load();
  }
  std::string Describe(uint32_t slot) override { return "slot " + std::to_string(slot); }

  LockIdentity IdentityOrRejoin() noexcept { return {slot_, 1, this}; }

  uint32_t slot_ = 0;
  Atomic<uint32_t> dead_slot_{~uint32_t{0}};
  std::function<void()> when_asked_;  // once: between a look at a word and its change
};

/**
 * An allocator over one array that knows every block, so that a free of anything else stops the
 * test, and that refuses on demand. Slow, but right from the first minute.
 */
class TestAllocator {
 public:
  explicit TestAllocator(uint64_t bytes = uint64_t{64} << 20)
      : memory_(static_cast<char*>(std::aligned_alloc(4096, bytes))),
        region_{memory_.get(), bytes, nullptr} {}

  const ipc::Region& GetRegion() const noexcept { return region_; }
  ScriptedPeers& GetMembership() noexcept { return peers_; }
  ipc::AllocatorId GetId() const noexcept { return ipc::AllocatorId(1, 0); }
  template <typename T>
  T* Convert(ipc::OffsetPtr<T> offset) const noexcept {
    return offset.IsNull() ? nullptr : region_.At<T>(offset.load());
  }

  ipc::OffsetPtr<> AllocateOffset(const ipc::MemContext& ctx, uint64_t bytes) noexcept {
    return AlignedAllocateOffset(ctx, bytes, ipc::kDefaultAlignment);
  }
  ipc::OffsetPtr<> AlignedAllocateOffset(const ipc::MemContext&, uint64_t bytes,
                                         uint64_t alignment) noexcept {
    const std::lock_guard<std::mutex> guard(mutex_);
    if (allowed_ == 0) return ipc::OffsetPtr<>();
    --allowed_;
    const uint64_t offset = Take(bytes, alignment);
    if (offset == 0) return ipc::OffsetPtr<>();
    live_[offset] = {bytes, alignment};
    live_bytes_ += bytes;
    return ipc::OffsetPtr<>(offset);
  }
  void FreeOffsetNoNullCheck(const ipc::MemContext&, ipc::OffsetPtr<> offset) noexcept {
    const std::lock_guard<std::mutex> guard(mutex_);
    const auto block = live_.find(offset.load());
    HSHM_CHECK(block != live_.end());
    std::memset(region_.base_ + offset.load(), 0xdb, block->second.first);
    live_bytes_ -= block->second.first;
    free_[block->second].push_back(offset.load());
    live_.erase(block);
  }
  size_t GetCurrentlyAllocatedSize() noexcept {
    const std::lock_guard<std::mutex> guard(mutex_);
    return live_bytes_;
  }

  /** From now on this many allocations succeed, and no more. */
  void Allow(uint64_t count) {
    const std::lock_guard<std::mutex> guard(mutex_);
    allowed_ = count;
  }
  void AllowAll() { Allow(~uint64_t{0}); }
  size_t live_blocks() {
    const std::lock_guard<std::mutex> guard(mutex_);
    return live_.size();
  }

 private:
  using Shape = std::pair<uint64_t, uint64_t>;  // bytes, alignment
  struct Freer {
    void operator()(char* memory) const { std::free(memory); }
  };

  uint64_t Take(uint64_t bytes, uint64_t alignment) {
    std::vector<uint64_t>& fitting = free_[{bytes, alignment}];
    if (!fitting.empty()) {
      const uint64_t offset = fitting.back();
      fitting.pop_back();
      return offset;
    }
    const uint64_t offset = (next_ + alignment - 1) / alignment * alignment;
    if (offset > region_.size_bytes_ || region_.size_bytes_ - offset < bytes) return 0;
    next_ = offset + bytes;
    std::memset(region_.base_ + offset, 0xab, bytes);
    return offset;
  }

  std::mutex mutex_;
  std::unique_ptr<char, Freer> memory_;
  ipc::Region region_;
  ScriptedPeers peers_;
  uint64_t next_ = 4096;
  uint64_t allowed_ = ~uint64_t{0};
  uint64_t live_bytes_ = 0;
  std::unordered_map<uint64_t, Shape> live_;
  std::map<Shape, std::vector<uint64_t>> free_;
};

}  // namespace hshm::test

#endif  // HSHM_UNIT_TESTS_DATA_STRUCTURES_TEST_ALLOCATOR_H_
