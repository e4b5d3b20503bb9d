#ifndef HSHM_UNIT_TESTS_DATA_STRUCTURES_SHARED_SEGMENT_H_
#define HSHM_UNIT_TESTS_DATA_STRUCTURES_SHARED_SEGMENT_H_

#include <unistd.h>

#include <cstdint>
#include <string>

#include "hermes_shm/memory/backend/posix_shm_mmap.h"

namespace hshm::test {

/** A segment of this test process with an allocator in it. Its name goes with this object. */
template <typename AllocT>
class SharedSegment {
 public:
  explicit SharedSegment(uint64_t bytes)
      : url_("hshm_test_structures_" + std::to_string(getpid()) + "_" + std::to_string(Number())) {
    backend_.shm_init(ipc::MemoryBackendId(900), bytes, url_);
    try {
      alloc_ = backend_.MakeAlloc<AllocT>(ipc::AllocatorId(9, 0));
    } catch (...) {
      backend_.Unlink();
      throw;
    }
  }
  ~SharedSegment() { backend_.Unlink(); }
  SharedSegment(const SharedSegment&) = delete;
  SharedSegment& operator=(const SharedSegment&) = delete;

  const std::string& url() const { return url_; }
  AllocT* alloc() const { return alloc_; }

 private:
  static uint64_t Number() {
    static uint64_t made = 0;
    return ++made;
  }

  std::string url_;
  ipc::PosixShmMmap backend_;
  AllocT* alloc_ = nullptr;
};

/** A segment that somebody else has made, mapped once more: at another address. */
template <typename AllocT>
class AttachedSegment {
 public:
  explicit AttachedSegment(const std::string& url) {
    backend_.shm_attach(url);
    alloc_ = backend_.AttachAlloc<AllocT>();
  }
  AllocT* alloc() const { return alloc_; }

 private:
  ipc::PosixShmMmap backend_;
  AllocT* alloc_ = nullptr;
};

}  // namespace hshm::test

#endif  // HSHM_UNIT_TESTS_DATA_STRUCTURES_SHARED_SEGMENT_H_
