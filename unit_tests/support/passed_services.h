#ifndef HSHM_UNIT_TESTS_SUPPORT_PASSED_SERVICES_H_
#define HSHM_UNIT_TESTS_SUPPORT_PASSED_SERVICES_H_

#include <cstdint>

#include "hermes_shm/memory/backend/region.h"

namespace hshm::test {

/** The services of a region as they are: for tests that stand in between in one of them. */
class PassedServices : public ipc::RegionServices {
 public:
  explicit PassedServices(ipc::RegionServices* real) : real_(real) {}

  bool Commit(ipc::Offset offset, uint64_t size_bytes) noexcept override {
    return real_->Commit(offset, size_bytes);
  }
  void Decommit(ipc::Offset offset, uint64_t size_bytes) noexcept override {
    real_->Decommit(offset, size_bytes);
  }
  bool Bind(ipc::Offset offset, uint64_t size_bytes, uint32_t node) noexcept override {
    return real_->Bind(offset, size_bytes, node);
  }
  bool IsShared() const noexcept override { return real_->IsShared(); }
  bool HoldSlot(uint32_t slot) noexcept override { return real_->HoldSlot(slot); }
  void ReleaseSlot(uint32_t slot) noexcept override { real_->ReleaseSlot(slot); }
  bool IsAlive(uint32_t slot) noexcept override { return real_->IsAlive(slot); }

 private:
  ipc::RegionServices* real_;
};

}  // namespace hshm::test

#endif  // HSHM_UNIT_TESTS_SUPPORT_PASSED_SERVICES_H_
