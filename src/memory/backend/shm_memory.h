#ifndef HSHM_SRC_MEMORY_BACKEND_SHM_MEMORY_H_
#define HSHM_SRC_MEMORY_BACKEND_SHM_MEMORY_H_

#include <string>
#include <vector>

#include "hermes_shm/memory/backend/memory_backend.h"
#include "hermes_shm/platform/byte_lock.h"
#include "hermes_shm/platform/file_descriptor.h"
#include "hermes_shm/platform/memory_placement.h"
#include "hermes_shm/platform/shared_memory.h"

namespace hshm::ipc {

/** A segment's file with the lock that says "somebody is here". */
struct SegmentFile {
  std::string path_;  // of an unnamed one what messages call it
  std::string url_;   // what its users call it; of an unnamed one empty
  FileDescriptor file_;
  FileIdentity identity_;
  HeldByte presence_;
  std::string label_;  // of an unnamed one, else empty
  bool IsUnnamed() const noexcept { return !label_.empty(); }
};

/** How a segment's file is mapped and its memory taken. */
struct SegmentShape {
  uint64_t region_bytes_ = 0;  // capacity, a multiple of page_bytes_; all of it is mapped
  uint64_t page_bytes_ = 0;    // unit in which memory is taken and given back
  bool is_growing_ = false;    // kGrowingFile
  PageReport pages_;
  bool HasTransparentPages() const noexcept { return pages_.kind_ == PageKind::kTransparentHuge; }
};

/**
 * A mapped segment and its services. The descriptor carries no lock of its own. An application may
 * have closed it and got its number back for another file: it is checked before each use, and when
 * it is lost nothing is committed any more and nobody is called dead.
 */
class ShmMemory final : public BackendMemory {
 public:
  ShmMemory(SegmentFile segment, const SegmentShape& shape);
  ~ShmMemory() override;

  /** Maps the whole segment; before anything else is called. @return 0 or the errno */
  [[nodiscard]] int Map(void* hint, bool in_core_dumps) noexcept;
  const std::string& path() const noexcept { return segment_.path_; }
  std::string Url() const override;
  PageReport Pages() const override { return shape_.pages_; }
  const SegmentFile& segment() const noexcept { return segment_; }

  char* base() const noexcept override { return base_; }
  uint64_t size_bytes() const noexcept override { return shape_.region_bytes_; }
  void Unlink() noexcept override;

  bool Commit(Offset offset, uint64_t size_bytes) noexcept override;
  void Decommit(Offset offset, uint64_t size_bytes) noexcept override;
  bool ClearWritten(Offset offset, uint64_t size_bytes) noexcept override;
  bool IsUnwritten(Offset offset, uint64_t size_bytes) noexcept override;
  bool Bind(Offset offset, uint64_t size_bytes, uint32_t node) noexcept override;
  bool IsShared() const noexcept override { return true; }
  bool HoldSlot(uint32_t slot) noexcept override;
  void ReleaseSlot(uint32_t slot) noexcept override;
  bool IsAlive(uint32_t slot) noexcept override;

 private:
  /** @return 0 while the descriptor leads to the segment; EBADF or the errno of asking */
  int FindDescriptor() const noexcept;
  bool HasDescriptor() const noexcept { return FindDescriptor() == 0; }
  bool CommitPages(uint64_t begin, uint64_t size_bytes) noexcept;
  void NoteGrowth(uint64_t file_bytes) noexcept;

  SegmentFile segment_;
  SegmentShape shape_;
  char* base_ = nullptr;
  MemoryPlacer placer_;
  std::vector<HeldByte> slots_;  // [i] is written by who just got, or has, byte i
};

}  // namespace hshm::ipc

#endif  // HSHM_SRC_MEMORY_BACKEND_SHM_MEMORY_H_
