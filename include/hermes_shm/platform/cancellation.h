#ifndef HSHM_PLATFORM_CANCELLATION_H_
#define HSHM_PLATFORM_CANCELLATION_H_

#include "hermes_shm/base/macros.h"

/** Keeps the calling thread from being cancelled while it holds something that must be let go. */
namespace hshm {

/** @return what RestoreCancellation needs; pairs of the two may nest */
HSHM_API int DisableCancellation() noexcept;
HSHM_API void RestoreCancellation(int former) noexcept;

/** The same for a scope. Needed around system calls in noexcept functions too: most of them are
 * cancellation points, and a cancelled thread unwinds. */
class NoCancellation {
 public:
  NoCancellation() noexcept : former_(DisableCancellation()) {}
  ~NoCancellation() { RestoreCancellation(former_); }
  NoCancellation(const NoCancellation&) = delete;
  NoCancellation& operator=(const NoCancellation&) = delete;

 private:
  int former_;
};

}  // namespace hshm

#endif  // HSHM_PLATFORM_CANCELLATION_H_
