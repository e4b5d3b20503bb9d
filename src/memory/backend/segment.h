#ifndef HSHM_SRC_MEMORY_BACKEND_SEGMENT_H_
#define HSHM_SRC_MEMORY_BACKEND_SEGMENT_H_

#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include "hermes_shm/memory/backend/segment_options.h"
#include "memory/backend/shm_memory.h"
#include "memory/backend/unnamed_segment.h"

/** Making a region in a file, and joining one: what PosixShmMmap and PosixMmap do alike. */
namespace hshm::ipc {

struct NewSegment {
  MemoryBackendType type_;
  MemoryBackendId id_;
  std::string path_;
  std::string url_;  // what its users call it
  bool is_unnamed_ = false;
  uint64_t size_bytes_ = 0;
  uint64_t max_size_bytes_ = 0;  // 0: size_bytes_
  IfExists if_exists_ = IfExists::kFail;
  bool allow_overcommit_ = false;
  void* address_hint_ = nullptr;
  HugePages huge_pages_ = HugePages::kNever;
  SegmentAccess access_ = SegmentAccess::kUser;
  bool in_core_dumps_ = false;
};

/** A region, finished, mapped and published under its path. @throws Error as shm_init says */
std::unique_ptr<ShmMemory> CreateSegment(const NewSegment& wanted);

struct ExistingSegment {
  MemoryBackendType type_;
  std::string path_;
  std::string url_;
  std::optional<UnnamedUrl> unnamed_;  // instead of path_
  uint64_t timeout_ms_ = 0;
  void* address_hint_ = nullptr;
  SegmentAccess access_ = SegmentAccess::kUser;
  bool in_core_dumps_ = false;
  bool is_persistent_ = false;  // it may be from before the machine's last start
};

/** @throws Error as shm_attach says, in that order */
std::unique_ptr<ShmMemory> AttachSegment(const ExistingSegment& wanted);

}  // namespace hshm::ipc

#endif  // HSHM_SRC_MEMORY_BACKEND_SEGMENT_H_
