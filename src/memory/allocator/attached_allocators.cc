#include "hermes_shm/memory/allocator/attached_allocators.h"

#include <array>
#include <atomic>
#include <cstdint>
#include <mutex>
#include <utility>

#include "hermes_shm/base/check.h"

namespace hshm::ipc {

struct AttachedAllocator::Entry {
  std::atomic<const void*> base_{nullptr};
  std::atomic<AllocatorCore*> allocator_{nullptr};
  Entry* next_ = nullptr;  // set before the entry is in its bucket
  bool is_taken_ = false;  // under the lock
};

namespace {

constexpr uint32_t kBucketBits = 6;  // 64: a process has a few regions
constexpr uint32_t kPageBits = 12;   // bases are addresses of pages

/** The first entry of a bucket, as a word: Entry is the class's own. */
struct Buckets {
  std::mutex mutex_;
  std::array<std::atomic<void*>, 1 << kBucketBits> first_{};
};
constinit Buckets buckets;

std::atomic<void*>& BucketOf(const void* base) {
  const uint64_t mixed = (reinterpret_cast<uintptr_t>(base) >> kPageBits) * 0x9e3779b97f4a7c15;
  return buckets.first_[mixed >> (64 - kBucketBits)];
}

}  // namespace

AttachedAllocator::AttachedAllocator(const void* region_base, AllocatorCore* allocator)
    : region_base_(region_base) {
  HSHM_CHECK(region_base != nullptr);
  const std::lock_guard guard(buckets.mutex_);
  std::atomic<void*>& bucket = BucketOf(region_base);
  auto* const first = static_cast<Entry*>(bucket.load(std::memory_order_relaxed));  // relaxed: lock
  entry_ = first;
  while (entry_ != nullptr && entry_->is_taken_) entry_ = entry_->next_;
  const bool is_new = entry_ == nullptr;
  if (is_new) entry_ = new Entry;
  entry_->is_taken_ = true;
  entry_->allocator_.store(allocator, std::memory_order_relaxed);  // relaxed: Show publishes it
  if (!is_new) return;
  entry_->next_ = first;
  bucket.store(entry_, std::memory_order_release);  // pairs with Find
}

AttachedAllocator::AttachedAllocator(AttachedAllocator&& other) noexcept
    : entry_(std::exchange(other.entry_, nullptr)), region_base_(other.region_base_) {}

AttachedAllocator& AttachedAllocator::operator=(AttachedAllocator&& other) noexcept {
  std::swap(entry_, other.entry_);
  std::swap(region_base_, other.region_base_);
  return *this;
}

void AttachedAllocator::Show() noexcept {
  HSHM_CHECK(entry_ != nullptr);
  entry_->base_.store(region_base_, std::memory_order_release);  // pairs with Find
}

void AttachedAllocator::Forget() noexcept {
  if (entry_ == nullptr) return;
  const std::lock_guard guard(buckets.mutex_);
  entry_->base_.store(nullptr, std::memory_order_relaxed);  // relaxed: who misses it is late anyway
  entry_->is_taken_ = false;
  entry_ = nullptr;
}

AllocatorCore* AttachedAllocator::Find(const void* region_base) noexcept {
  void* first =
      BucketOf(region_base).load(std::memory_order_acquire);  // pairs with the constructor
  for (auto* entry = static_cast<Entry*>(first); entry != nullptr; entry = entry->next_) {
    if (entry->base_.load(std::memory_order_acquire) == region_base) {  // pairs with Show
      return entry->allocator_.load(std::memory_order_relaxed);         // relaxed: acquired above
    }
  }
  return nullptr;
}

}  // namespace hshm::ipc
