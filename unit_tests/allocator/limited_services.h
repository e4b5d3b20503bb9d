#ifndef HSHM_UNIT_TESTS_ALLOCATOR_LIMITED_SERVICES_H_
#define HSHM_UNIT_TESTS_ALLOCATOR_LIMITED_SERVICES_H_

#include <memory>
#include <vector>

#include "hermes_shm/memory/backend/malloc_backend.h"

/** A region whose system has only so many bytes, and which remembers what was committed. */
class LimitedRegion : private hshm::ipc::RegionServices {
 public:
  LimitedRegion(uint64_t size_bytes, uint64_t limit_bytes)
      : limit_bytes_(limit_bytes), is_committed_(size_bytes / kPage) {
    backend_.shm_init(hshm::ipc::MemoryBackendId(1), size_bytes);
  }

  hshm::ipc::Region region() {
    hshm::ipc::Region region = backend_.region();
    real_ = region.services_;
    region.services_ = this;
    return region;
  }
  bool IsCommitted(uint64_t offset, uint64_t size_bytes) const {
    for (uint64_t page = offset / kPage; page * kPage < offset + size_bytes; ++page) {
      if (!is_committed_[page]) return false;
    }
    return true;
  }
  uint64_t committed_bytes() const { return committed_bytes_; }
  int commits() const { return commits_; }
  void SetLimit(uint64_t limit_bytes) { limit_bytes_ = limit_bytes; }

 private:
  static constexpr uint64_t kPage = 4096;

  bool Commit(hshm::ipc::Offset offset, uint64_t size_bytes) noexcept override {
    ++commits_;
    uint64_t more = 0;
    for (uint64_t page = offset / kPage; page * kPage < offset + size_bytes; ++page) {
      if (!is_committed_[page]) more += kPage;
    }
    if (committed_bytes_ + more > limit_bytes_) return false;
    committed_bytes_ += more;
    for (uint64_t page = offset / kPage; page * kPage < offset + size_bytes; ++page) {
      is_committed_[page] = true;
    }
    return real_->Commit(offset, size_bytes);
  }
  void Decommit(hshm::ipc::Offset offset, uint64_t size_bytes) noexcept override {
    real_->Decommit(offset, size_bytes);
  }
  bool Bind(hshm::ipc::Offset offset, uint64_t size_bytes, uint32_t node) noexcept override {
    return real_->Bind(offset, size_bytes, node);
  }
  bool IsShared() const noexcept override { return real_->IsShared(); }
  bool HoldSlot(uint32_t slot) noexcept override { return real_->HoldSlot(slot); }
  void ReleaseSlot(uint32_t slot) noexcept override { real_->ReleaseSlot(slot); }
  bool IsAlive(uint32_t slot) noexcept override { return real_->IsAlive(slot); }

  hshm::ipc::MallocBackend backend_;
  hshm::ipc::RegionServices* real_ = nullptr;
  uint64_t limit_bytes_;
  uint64_t committed_bytes_ = 0;
  int commits_ = 0;
  std::vector<bool> is_committed_;
};

#endif  // HSHM_UNIT_TESTS_ALLOCATOR_LIMITED_SERVICES_H_
