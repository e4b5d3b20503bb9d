#ifndef HSHM_UNIT_TESTS_MALLOC_PRELOADED_H_
#define HSHM_UNIT_TESTS_MALLOC_PRELOADED_H_

#include <dlfcn.h>

#include <cstdlib>
#include <string>

namespace hshm::test {

/** Whether malloc is the library's: a test that ran on another would say nothing. */
inline bool IsPreloaded() {
  Dl_info info = {};
  void* const found = dlsym(RTLD_DEFAULT, "malloc");
  return dladdr(found, &info) != 0 &&
         std::string(info.dli_fname).find("libhshm_malloc") != std::string::npos;
}

/** Hides a value from the compiler, which knows what malloc and free are and leaves pairs out. */
template <typename T>
T Opaque(T value) {
  asm volatile("" : "+r"(value) : : "memory");
  return value;
}

inline bool IsAligned(const void* address, size_t alignment) {
  return reinterpret_cast<uintptr_t>(address) % alignment == 0;
}

inline bool IsShm() {
  const char* backend = std::getenv("HSHM_MALLOC_BACKEND");
  return backend != nullptr && std::string(backend) == "shm";
}

}  // namespace hshm::test

#endif  // HSHM_UNIT_TESTS_MALLOC_PRELOADED_H_
