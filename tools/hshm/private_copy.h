#ifndef HSHM_TOOLS_HSHM_PRIVATE_COPY_H_
#define HSHM_TOOLS_HSHM_PRIVATE_COPY_H_

#include <cstdint>
#include <utility>
#include <vector>

#include "hermes_shm/memory/allocator/allocator_report.h"

namespace hshm::tool {

using ipc::Offset;

/**
 * A segment's bytes in private memory, copied piece by piece as they are touched: the file itself
 * is only read, gets no memory where it has holes, and may be cut short meanwhile, which reads as
 * zero. For a child made for it (Sandbox): the pieces are copied by a handler of SIGSEGV, and who
 * follows a broken offset out of the copy ends that process with kLedAstray. One at a time.
 *
 * As services: nobody lives in the copy but who holds a slot of it; memory is there or comes.
 */
class PrivateCopy final : public ipc::RegionCopy {
 public:
  /** What the child ends with when a broken word has led it out of the copy. */
  static constexpr int kLedAstray = 77;

  enum class Original {
    kChanging,  // others write to it: each piece is copied by read
    kQuiet,     // nobody does: pieces are mapped where that gives the file no memory, and only what
                // is written to costs some
  };

  /** @throws Error kSystem when there are no addresses for it */
  PrivateCopy(int fd, uint64_t region_bytes, Original original);
  ~PrivateCopy() override;
  PrivateCopy(const PrivateCopy&) = delete;
  PrivateCopy& operator=(const PrivateCopy&) = delete;

  ipc::Region region() { return {base_, size_bytes_, this}; }

  bool ReadAgain(Offset offset, uint64_t size_bytes) override;
  void Forget(Offset offset, uint64_t size_bytes) override;

  bool Commit(Offset offset, uint64_t size_bytes) noexcept override;
  void Decommit(Offset offset, uint64_t size_bytes) noexcept override;
  bool Bind(Offset, uint64_t, uint32_t) noexcept override { return true; }
  bool IsShared() const noexcept override { return true; }
  bool HoldSlot(uint32_t slot) noexcept override;
  void ReleaseSlot(uint32_t slot) noexcept override { held_[slot] = false; }
  bool IsAlive(uint32_t slot) noexcept override { return slot < held_.size() && held_[slot]; }

  /** For the handler: true when the address is in the copy and its piece is there now. */
  bool Supply(uintptr_t address) noexcept;

 private:
  uint64_t EndOf(uint64_t piece) const noexcept;
  bool Load(uint64_t piece, uint64_t pieces) noexcept;
  bool LoadGroup(uint64_t group) noexcept;
  void FindData();
  bool Map(uint64_t begin, uint64_t end) noexcept;
  bool Read(uint64_t begin, uint64_t end) noexcept;

  int fd_;
  Original original_;
  uint64_t size_bytes_;
  uint64_t group_pieces_;  // what is loaded at once when there are many pieces
  uint64_t alone_ = 0;     // pieces that were loaded by themselves and are there
  char* base_ = nullptr;
  std::vector<char> is_there_;                       // by piece
  std::vector<std::pair<uint64_t, uint64_t>> data_;  // of a quiet file: ranges without holes
  std::vector<bool> held_;                           // by slot
};

}  // namespace hshm::tool

#endif  // HSHM_TOOLS_HSHM_PRIVATE_COPY_H_
