#ifndef HSHM_UNIT_TESTS_SUPPORT_LIVING_THREADS_H_
#define HSHM_UNIT_TESTS_SUPPORT_LIVING_THREADS_H_

#include <atomic>
#include <thread>
#include <vector>

#include "hermes_shm/memory/allocator/multi_process_allocator.h"

namespace hshm::test {

/** Threads that have heaps, more than one page has records for. */
class LivingThreads {
 public:
  explicit LivingThreads(ipc::SmallMultiProcessAllocator* alloc) {
    for (int i = 0; i < 8; ++i) {
      threads_.emplace_back([this, alloc] {
        static_cast<void>(alloc->CreateTls(HSHM_DEFAULT_MEM_CTX));
        ++arrived_;
        is_over_.wait(false);
      });
    }
    while (arrived_ < 8) std::this_thread::yield();
  }
  ~LivingThreads() {
    is_over_ = true;
    is_over_.notify_all();
    for (std::thread& thread : threads_) thread.join();
  }
  LivingThreads(const LivingThreads&) = delete;
  LivingThreads& operator=(const LivingThreads&) = delete;

 private:
  std::vector<std::thread> threads_;
  std::atomic<bool> is_over_{false};
  std::atomic<int> arrived_{0};
};

}  // namespace hshm::test

#endif  // HSHM_UNIT_TESTS_SUPPORT_LIVING_THREADS_H_
