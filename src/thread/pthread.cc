#include "hermes_shm/thread/pthread.h"

#include <sched.h>
#include <unistd.h>

#include <cerrno>
#include <ctime>

namespace hshm::thread {

void Pthread::SleepForUs(size_t us) {
  timespec left = {static_cast<time_t>(us / 1000000), static_cast<long>(us % 1000000) * 1000};
  while (nanosleep(&left, &left) != 0 && errno == EINTR) {}
}

void Pthread::Yield() noexcept { sched_yield(); }

ThreadId Pthread::GetTid() noexcept { return ThreadId{static_cast<uint64_t>(gettid())}; }

bool Pthread::CreateKey(ThreadLocalKey& key, void* data, ThreadExit at_exit) noexcept {
  pthread_key_t made = 0;
  if (pthread_key_create(&made, at_exit) != 0) return false;
  if (pthread_setspecific(made, data) != 0) {
    pthread_key_delete(made);
    return false;
  }
  key.key_ = made;
  key.is_created_ = true;
  return true;
}

void Pthread::DestroyTls(ThreadLocalKey& key) noexcept {
  if (key.is_created_) pthread_key_delete(static_cast<pthread_key_t>(key.key_));
  key.is_created_ = false;
}

}  // namespace hshm::thread
