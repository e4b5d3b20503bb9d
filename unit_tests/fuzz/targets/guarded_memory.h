#ifndef HSHM_UNIT_TESTS_FUZZ_TARGETS_GUARDED_MEMORY_H_
#define HSHM_UNIT_TESTS_FUZZ_TARGETS_GUARDED_MEMORY_H_

#include <sys/mman.h>

#include <cstdint>

#include "fuzz/targets/made_up_system.h"

namespace hshm::fuzz {

/** Memory in the middle of so many addresses without any that whoever leaves it crashes. Ends, to
 * the byte, where nothing can be touched any more. */
class GuardedMemory {
 public:
  explicit GuardedMemory(uint64_t size_bytes) : size_bytes_(size_bytes) {
    constexpr uint64_t kGuardBytes = uint64_t{1} << 40;
    void* const zone = mmap(nullptr, 2 * kGuardBytes + size_bytes, PROT_NONE,
                            MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (zone == MAP_FAILED) Fail("no addresses for a guarded region");
    base_ = static_cast<char*>(zone) + kGuardBytes;
    if (mprotect(base_, size_bytes, PROT_READ | PROT_WRITE) != 0) Fail("no guarded memory");
  }

  char* base() const { return base_; }
  /** Of a region that is shorter. */
  char* BaseFor(uint64_t size_bytes) const { return base_ + (size_bytes_ - size_bytes); }

 private:
  uint64_t size_bytes_;
  char* base_ = nullptr;
};

}  // namespace hshm::fuzz

#endif  // HSHM_UNIT_TESTS_FUZZ_TARGETS_GUARDED_MEMORY_H_
