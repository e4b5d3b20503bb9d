#ifndef HSHM_UNIT_TESTS_ALLOCATOR_LIMITED_SERVICES_H_
#define HSHM_UNIT_TESTS_ALLOCATOR_LIMITED_SERVICES_H_

#include <memory>
#include <vector>

#include "hermes_shm/memory/backend/malloc_backend.h"
#include "support/passed_services.h"

/** A region whose system has only so many bytes, and which remembers what was committed. */
class LimitedRegion {
 public:
  LimitedRegion(uint64_t size_bytes, uint64_t limit_bytes) {
    backend_.shm_init(hshm::ipc::MemoryBackendId(1), size_bytes);
    limit_ = std::make_unique<Limit>(backend_.region(), limit_bytes);
  }

  hshm::ipc::Region region() {
    hshm::ipc::Region region = backend_.region();
    region.services_ = limit_.get();
    return region;
  }
  bool IsCommitted(uint64_t offset, uint64_t size_bytes) const {
    for (uint64_t page = offset / kPage; page * kPage < offset + size_bytes; ++page) {
      if (!limit_->is_committed_[page]) return false;
    }
    return true;
  }
  uint64_t committed_bytes() const { return limit_->committed_bytes_; }
  int commits() const { return limit_->commits_; }
  void SetLimit(uint64_t limit_bytes) { limit_->limit_bytes_ = limit_bytes; }

 private:
  static constexpr uint64_t kPage = 4096;

  struct Limit : hshm::test::PassedServices {
    Limit(const hshm::ipc::Region& region, uint64_t limit_bytes)
        : PassedServices(region.services_),
          limit_bytes_(limit_bytes),
          is_committed_(region.size_bytes_ / kPage) {}

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
      return PassedServices::Commit(offset, size_bytes);
    }

    uint64_t limit_bytes_;
    uint64_t committed_bytes_ = 0;
    int commits_ = 0;
    std::vector<bool> is_committed_;
  };

  hshm::ipc::MallocBackend backend_;
  std::unique_ptr<Limit> limit_;
};

#endif  // HSHM_UNIT_TESTS_ALLOCATOR_LIMITED_SERVICES_H_
