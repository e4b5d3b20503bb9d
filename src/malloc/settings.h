#ifndef HSHM_SRC_MALLOC_SETTINGS_H_
#define HSHM_SRC_MALLOC_SETTINGS_H_

#include <cstdint>

namespace hshm::malloc_library {

/** Where the heap lies. */
enum class Backend {
  kPrivate,  // pages of this process; a forked child gets them copy-on-write
  kShm,      // a file in memory, mapped shared; a forked child copies it
};

struct Settings {
  Backend backend_ = Backend::kPrivate;
  uint64_t size_bytes_ = 0;  // the most that the heap can have; 0: chosen from the machine
};

/** The least that HSHM_MALLOC_SIZE may ask for, in bytes: the headers and a few threads fit. */
inline constexpr uint64_t kMinHeapBytes = uint64_t{16} << 20;
/** The most: page numbers have 32 bits. */
inline constexpr uint64_t kMaxHeapBytes = uint64_t{64} << 40;

/**
 * HSHM_MALLOC_BACKEND=private|shm and HSHM_MALLOC_SIZE=<number>[K|M|G|T][iB|B] of the environment;
 * not looked at in programs that run with more rights than their user (secure_getenv). A value that
 * cannot be read stops the program with a sentence: silently another heap would be worse.
 */
Settings ReadSettings() noexcept;

/** HSHM_CHECKED=1 or 0 of the environment, with the same rules; not set: as the library was built.
 */
bool WantsChecked() noexcept;

/**
 * Size for when none was asked for. Private: twice the memory of the machine and at least 64 GiB,
 * in addresses. Shm: half of the memory that the machine or the control group has, as a tmpfs takes
 * it, for the system kills where it has none left. At most half of the addresses that the process
 * may have.
 */
uint64_t DefaultHeapBytes(Backend backend) noexcept;

/** Writes "libhshm_malloc: <sentence>" to standard error and ends the program with status 127. */
[[noreturn]] void StopProgram(const char* sentence) noexcept;

}  // namespace hshm::malloc_library

#endif  // HSHM_SRC_MALLOC_SETTINGS_H_
