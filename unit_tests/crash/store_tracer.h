#ifndef HSHM_UNIT_TESTS_CRASH_STORE_TRACER_H_
#define HSHM_UNIT_TESTS_CRASH_STORE_TRACER_H_

#include <cstdint>
#include <functional>

#include "crash/trace_log.h"

namespace hshm::ipc::crash {

/**
 * Sees every instruction of this process that stores into a region, and the region after it.
 *
 * While a trace is on, the region is read-only. A store faults; the handler makes its page and the
 * next writable and sets the processor's trap flag, so that just this instruction runs and traps;
 * the second handler logs what changed and makes the region read-only again. So the trace has the
 * same images as stepping through every instruction (a test compares the two), at the price of the
 * stores alone. One trace a process at a time; other threads must be at rest.
 */
class StoreTracer {
 public:
  /** `region` is whole system pages of this process. */
  StoreTracer(char* region, uint64_t size_bytes, TraceLog* log);
  ~StoreTracer();
  StoreTracer(const StoreTracer&) = delete;
  StoreTracer& operator=(const StoreTracer&) = delete;

  /** What changed since the last trace becomes one image, then the trace is on. */
  void Start();
  void Stop();

  /** Called once, in the middle of the operation, when the trace has made `image` images with
   * changes; the region is writable and the trace off meanwhile. */
  void CallAt(uint64_t image, std::function<void()> call);
  uint64_t image_count() const { return image_count_; }

 private:
  static void OnFault(int number, void* address, void* context);
  static void OnStep(void* context);
  void Protect(bool is_writable) const;
  struct Window {
    uint64_t begin_, end_;
  };
  /** Offsets: a store may reach into the page behind that where it begins, not further. */
  Window StoredInto() const;

  char* region_;
  uint64_t size_bytes_;
  TraceLog* log_;
  bool is_on_ = false;
  bool is_storing_ = false;
  uint64_t stored_at_ = 0;  // offset of the store under way
  uint64_t image_count_ = 0;
  uint64_t call_at_ = ~uint64_t{0};
  std::function<void()> call_;
};

}  // namespace hshm::ipc::crash

#endif  // HSHM_UNIT_TESTS_CRASH_STORE_TRACER_H_
