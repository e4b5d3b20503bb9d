#ifndef HSHM_PLATFORM_PROCESS_H_
#define HSHM_PLATFORM_PROCESS_H_

#include <cstdint>
#include <string>

#include "hermes_shm/base/macros.h"

/**
 * Who a process is, for messages and for noticing an old boot. Never for deciding whether a process
 * lives: numbers are reused, a zombie still answers, and other containers count from 1 again. Byte
 * locks decide that.
 */
namespace hshm {

/** Number of the calling process in its own namespace. */
HSHM_API uint32_t ProcessId() noexcept;

/** Effective user of the calling process. */
HSHM_API uint32_t UserId() noexcept;

/** Whether the calling process acts for a group: its effective one, or a supplementary one. */
HSHM_API bool IsInGroup(uint32_t group_id);

/** When a process started, in clock ticks since boot; 0 when there is none of that number. */
HSHM_API uint64_t StartTime(uint32_t pid) noexcept;

/** Inode of the caller's PID namespace; 0 when the system does not tell. */
HSHM_API uint64_t PidNamespace() noexcept;

/** Text that differs from one start of the machine to the next; empty when the system does not
 * tell. At most 39 bytes. */
HSHM_API std::string BootId();

/** The system's letter: R running, S sleeping, D in the kernel, T stopped, t traced, Z zombie, ...;
 * 0 when there is no process of that number. */
HSHM_API char ProcessState(uint32_t pid) noexcept;

/** "pid 4711 (stopped)": the number, and its state in a word. */
HSHM_API std::string DescribeProcess(uint32_t pid);

}  // namespace hshm

#endif  // HSHM_PLATFORM_PROCESS_H_
