#ifndef HSHM_PLATFORM_BYTE_LOCK_H_
#define HSHM_PLATFORM_BYTE_LOCK_H_

#include <cstdint>
#include <utility>

#include "hermes_shm/base/macros.h"

namespace hshm {

enum class ByteLockMode {
  kExclusive,  // one holder
  kShared,     // any number of holders, and no exclusive one
};

/**
 * A lock on one byte of an open file that lives exactly as long as this process, or until Release.
 * The byte need not lie inside the file. It is how one process knows that another lives.
 *
 * The lock belongs to an open file description of its own, which one mapped page keeps and no
 * descriptor: closing every descriptor does not drop it, a forked child does not inherit it, exec
 * and death release it before the process becomes a zombie.
 *
 * Invariant  At most one process holds a byte exclusively; the kernel decides who.
 * Ordering   ByteIsLocked acquires what a holder wrote before it died or released.
 * ABA        None: the caller tells one holder of a byte from the next.
 * Crash      At any instruction: the kernel drops whatever was held.
 */
class HSHM_API HeldByte {
 public:
  HeldByte() = default;
  ~HeldByte() { Release(); }
  HeldByte(HeldByte&& other) noexcept
      : page_(std::exchange(other.page_, nullptr)),
        page_bytes_(other.page_bytes_),
        pid_(other.pid_) {}
  HeldByte& operator=(HeldByte&& other) noexcept {
    if (this != &other) {
      Release();
      page_ = std::exchange(other.page_, nullptr);
      page_bytes_ = other.page_bytes_;
      pid_ = other.pid_;
    }
    return *this;
  }
  HeldByte(const HeldByte&) = delete;
  HeldByte& operator=(const HeldByte&) = delete;

  /**
   * Takes the lock without waiting; whatever this object held before is released first. `fd` is
   * open for reading and writing, and stays as it is. Keeps fork out while it runs.
   * @return 0, EAGAIN when another holder is in the way, ENOSYS when /proc is not mounted, or the
   *         errno of what failed (EMFILE, ENOMEM, EBADF, ...)
   */
  [[nodiscard]] int Hold(int fd, uint64_t byte,
                         ByteLockMode mode = ByteLockMode::kExclusive) noexcept;

  /** Lets it go. Nothing happens in a forked child: it inherited the object, not the lock. */
  void Release() noexcept;

  bool IsHeld() const noexcept { return page_ != nullptr; }

 private:
  void* page_ = nullptr;
  uint64_t page_bytes_ = 0;  // FilePageBytes: a mapping of hugetlbfs is no smaller
  uint32_t pid_ = 0;         // who mapped page_: in a forked child something else may lie there
};

/**
 * True while a living process, this one included, holds the byte in either mode. True as well when
 * the system cannot be asked (`fd` is not open): nobody is called dead without proof. After false,
 * all that the late holder wrote is visible.
 */
[[nodiscard]] HSHM_API bool ByteIsLocked(int fd, uint64_t byte) noexcept;

}  // namespace hshm

#endif  // HSHM_PLATFORM_BYTE_LOCK_H_
