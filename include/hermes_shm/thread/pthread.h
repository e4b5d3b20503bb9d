#ifndef HSHM_THREAD_PTHREAD_H_
#define HSHM_THREAD_PTHREAD_H_

#include <pthread.h>

#include "hermes_shm/base/macros.h"
#include "hermes_shm/thread/thread_model.h"

namespace hshm::thread {

/** POSIX threads, which std::thread and OpenMP are made of as well. Has no state. */
class HSHM_API Pthread {
 public:
  void SleepForUs(size_t us);  // a cancellation point, so not noexcept
  void Yield() noexcept;
  ThreadId GetTid() noexcept;

  template <typename TLS>
  bool CreateTls(ThreadLocalKey& key, TLS* data) noexcept {
    if constexpr (HasThreadExit<TLS>) {
      return CreateKey(key, data, [](void* tls) { static_cast<TLS*>(tls)->destroy(); });
    } else {
      static_assert(
          !requires(TLS tls) { tls.destroy(); }, "destroy() has to be void and noexcept");
      return CreateKey(key, data, nullptr);
    }
  }

  template <typename TLS>
  TLS* GetTls(const ThreadLocalKey& key) noexcept {
    if (!key.is_created_) return nullptr;
    return static_cast<TLS*>(pthread_getspecific(static_cast<pthread_key_t>(key.key_)));
  }

  template <typename TLS>
  bool SetTls(ThreadLocalKey& key, TLS* data) noexcept {
    return key.is_created_ && pthread_setspecific(static_cast<pthread_key_t>(key.key_), data) == 0;
  }

  void DestroyTls(ThreadLocalKey& key) noexcept;

 private:
  /** What a thread that ends calls with its data, if that is not null. */
  using ThreadExit = void (*)(void* tls);

  bool CreateKey(ThreadLocalKey& key, void* data, ThreadExit at_exit) noexcept;
};
static_assert(ThreadModel<Pthread>);

}  // namespace hshm::thread

#endif  // HSHM_THREAD_PTHREAD_H_
