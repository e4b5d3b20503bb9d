#ifndef HSHM_UNIT_TESTS_GPU_RUNTIME_H_
#define HSHM_UNIT_TESTS_GPU_RUNTIME_H_

#include <cstddef>
#include <cstdio>
#include <cstdlib>

#include "hermes_shm/base/macros.h"

#if HSHM_HIP_COMPILER
#define HSHM_RUNTIME(name) hip##name
#else
#include <cuda_runtime.h>
#define HSHM_RUNTIME(name) cuda##name
#endif

/** The few calls of a GPU's runtime that these tests need, in the spelling of either. */
namespace hshm::test {

inline constexpr int kSkipped = 77;  // what CTest is told of a test that could not run

/** Stops the test with the call's name and the runtime's sentence when it failed. */
inline void Succeeds(HSHM_RUNTIME(Error_t) result, const char* call) {
  if (result == HSHM_RUNTIME(Success)) return;
  std::printf("%s failed: %s\n", call, HSHM_RUNTIME(GetErrorString)(result));
  std::exit(1);
}

/** The number of GPUs; 0 with the reason printed where there is none, or no driver. */
inline int CountGpus() {
  int count = 0;
  const auto result = HSHM_RUNTIME(GetDeviceCount)(&count);
  if (result == HSHM_RUNTIME(Success) && count > 0) return count;
  std::printf("no GPU: the runtime says %d, \"%s\"\n", static_cast<int>(result),
              HSHM_RUNTIME(GetErrorString)(result));
  return 0;
}

/** Waits until all kernels have ended. */
inline void WaitForKernels() {
  Succeeds(HSHM_RUNTIME(GetLastError)(), "launching a kernel");
  Succeeds(HSHM_RUNTIME(DeviceSynchronize)(), "running a kernel");
}

/** Memory of the GPU alone, zeroed; the host reaches it by copies. */
class GpuMemory {
 public:
  explicit GpuMemory(size_t size_bytes) : size_bytes_(size_bytes) {
    void* memory = nullptr;
    Succeeds(HSHM_RUNTIME(Malloc)(&memory, size_bytes), "Malloc");
    base_ = static_cast<char*>(memory);
    Succeeds(HSHM_RUNTIME(Memset)(base_, 0, size_bytes), "Memset");
  }
  ~GpuMemory() { (void)HSHM_RUNTIME(Free)(base_); }
  GpuMemory(const GpuMemory&) = delete;
  GpuMemory& operator=(const GpuMemory&) = delete;

  char* base() const { return base_; }
  void CopyFrom(const void* host) {
    Succeeds(HSHM_RUNTIME(Memcpy)(base_, host, size_bytes_, HSHM_RUNTIME(MemcpyHostToDevice)),
             "Memcpy to the GPU");
  }
  void CopyTo(void* host) const {
    Succeeds(HSHM_RUNTIME(Memcpy)(host, base_, size_bytes_, HSHM_RUNTIME(MemcpyDeviceToHost)),
             "Memcpy from the GPU");
  }

 private:
  char* base_ = nullptr;
  size_t size_bytes_;
};

/** Makes an array of the host usable by kernels, while this lives. */
class PinnedArray {
 public:
  PinnedArray(void* host, size_t size_bytes) : host_(host) {
    Succeeds(HSHM_RUNTIME(HostRegister)(host, size_bytes, HSHM_RUNTIME(HostRegisterMapped)),
             "HostRegister");
    void* kernel_base = nullptr;
    Succeeds(HSHM_RUNTIME(HostGetDevicePointer)(&kernel_base, host, 0), "HostGetDevicePointer");
    kernel_base_ = static_cast<char*>(kernel_base);
  }
  ~PinnedArray() { (void)HSHM_RUNTIME(HostUnregister)(host_); }
  PinnedArray(const PinnedArray&) = delete;
  PinnedArray& operator=(const PinnedArray&) = delete;

  /** The address at which kernels see the array. */
  char* kernel_base() const { return kernel_base_; }

 private:
  void* host_;
  char* kernel_base_ = nullptr;
};

}  // namespace hshm::test

#endif  // HSHM_UNIT_TESTS_GPU_RUNTIME_H_
