#ifndef HSHM_THREAD_THREAD_MODEL_H_
#define HSHM_THREAD_THREAD_MODEL_H_

#include <concepts>
#include <cstddef>
#include <cstdint>

#include "hermes_shm/base/macros.h"

/**
 * A thread model says how the threads of an application sleep, yield, are told apart and keep data
 * of their own. Allocators take it as a type; HSHM_THREAD_MODEL is the one of this process.
 */
namespace hshm::thread {

/** Tells the threads of a machine that live at the same time apart. */
struct ThreadId {
  uint64_t tid_ = 0;

  constexpr bool IsNull() const { return tid_ == 0; }
  friend constexpr bool operator==(ThreadId, ThreadId) = default;
};

/**
 * Names one pointer per thread. Means nothing in another process, so it must not lie in shared
 * memory. Made by CreateTls, given back by DestroyTls; the number of keys is small.
 */
struct ThreadLocalKey {
  uint64_t key_ = 0;  // the model's own number
  bool is_created_ = false;
};

/** Thread-local data that wants to know when its thread ends. */
template <typename TLS>
concept HasThreadExit = requires(TLS tls) {
  { tls.destroy() }
  noexcept->std::same_as<void>;
};

namespace detail {
struct TlsProbe {
  void destroy() noexcept {}
};
}  // namespace detail

/**
 * SleepForUs    blocks the calling thread for at least `us` microseconds
 * Yield         lets another thread run
 * CreateTls     makes a key and sets the caller's data under it; false, and no key, when none is
 *               left. When a thread ends that has data under the key, data->destroy() is called in
 *               it, if TLS has that function; the data itself stays.
 * GetTls        the caller's data; null when it has set none
 * SetTls        sets the caller's data; false when the system has no memory, or no such key
 * DestroyTls    gives the key back, without a call to anybody's destroy(); a second time nothing
 *               happens. No thread may use the key, or end, meanwhile.
 * GetTid        of the calling thread
 */
template <typename M>
concept ThreadModel = std::default_initializable<M> &&
    requires(M model, ThreadLocalKey key, const ThreadLocalKey const_key, detail::TlsProbe* data) {
  model.SleepForUs(size_t{1});
  model.Yield();
  { model.CreateTls(key, data) } -> std::same_as<bool>;
  { model.template GetTls<detail::TlsProbe>(const_key) } -> std::same_as<detail::TlsProbe*>;
  { model.SetTls(key, data) } -> std::same_as<bool>;
  model.DestroyTls(key);
  { model.GetTid() } -> std::same_as<ThreadId>;
};

}  // namespace hshm::thread

namespace hshm {
using thread::ThreadId;
using thread::ThreadLocalKey;
}  // namespace hshm

#endif  // HSHM_THREAD_THREAD_MODEL_H_
