#include "hermes_shm/memory/backend/posix_mmap.h"

#include <memory>
#include <string>
#include <utility>

#include "hermes_shm/base/error.h"
#include "hermes_shm/memory/backend/header_rules.h"
#include "memory/backend/new_file.h"
#include "memory/backend/private_pages_memory.h"
#include "memory/backend/segment.h"
#include "memory/backend/segment_file.h"

namespace hshm::ipc {
void PosixMmap::shm_init(MemoryBackendId id, size_t size, HugePages huge_pages) {
  RequireClosed("shm_init");
  CheckRegionSize(size);
  std::unique_ptr<BackendMemory> memory = MapPrivateRegion(size, huge_pages);
  auto* header = reinterpret_cast<BackendHeader*>(memory->base());
  FillHeader(header, kType, id, memory->size_bytes());
  header->ready_.store(1, std::memory_order_release);  // pairs with CheckHeader
  Open(std::move(memory), true);
}

void PosixMmap::shm_init(MemoryBackendId id, size_t size, const std::string& path,
                         const PosixMmapOptions& options) {
  RequireClosed("shm_init");
  NewSegment wanted;
  wanted.type_ = kType;
  wanted.id_ = id;
  wanted.path_ = FilePath(path);
  wanted.url_ = wanted.path_;
  wanted.size_bytes_ = size;
  wanted.max_size_bytes_ = options.max_size_bytes_;
  wanted.if_exists_ = options.if_exists_;
  wanted.allow_overcommit_ = options.allow_overcommit_;
  wanted.address_hint_ = options.address_hint_;
  wanted.access_ = options.access_;
  wanted.in_core_dumps_ = options.in_core_dumps_;
  wanted.huge_pages_ = options.huge_pages_;
  Open(CreateSegment(wanted), true);
}

void PosixMmap::shm_attach(const std::string& path, const PosixMmapAttachOptions& options) {
  RequireClosed("shm_attach");
  ExistingSegment wanted;
  wanted.type_ = kType;
  wanted.path_ = FilePath(path);
  wanted.url_ = wanted.path_;
  wanted.timeout_ms_ = options.timeout_ms_;
  wanted.address_hint_ = options.address_hint_;
  wanted.access_ = options.access_;
  wanted.in_core_dumps_ = options.in_core_dumps_;
  wanted.is_persistent_ = true;
  Open(AttachSegment(wanted), false);
}

void PosixMmap::Sync() {
  if (!IsOpen() || !memory()->IsShared()) {
    throw Error(
        ErrorCode::kUnsupported,
        "Sync of a PosixMmap without a file: give shm_init() or shm_attach() a path first.");
  }
  const std::string& path = static_cast<const ShmMemory*>(memory())->path();
  int error = SyncMapping(memory()->base(), memory()->size_bytes());
  if (error == 0) error = SyncDirectory(DirectoryOf(path));
  if (error != 0) throw FileError("Writing " + path + " to its storage", error);
}

}  // namespace hshm::ipc
