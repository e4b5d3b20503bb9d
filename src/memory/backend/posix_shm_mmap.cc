#include "hermes_shm/memory/backend/posix_shm_mmap.h"

#include "memory/backend/segment.h"
#include "memory/backend/segment_file.h"

namespace hshm::ipc {

void PosixShmMmap::shm_init(MemoryBackendId id, size_t size, const std::string& url,
                            const PosixShmOptions& options) {
  RequireClosed("shm_init");
  NewSegment wanted;
  wanted.type_ = kType;
  wanted.id_ = id;
  wanted.path_ = SegmentPath(url);
  wanted.url_ = url;
  wanted.is_unnamed_ = options.naming_ == Naming::kUnnamed;
  wanted.huge_pages_ = options.huge_pages_;
  wanted.size_bytes_ = size;
  wanted.max_size_bytes_ = options.max_size_bytes_;
  wanted.if_exists_ = options.if_exists_;
  wanted.allow_overcommit_ = options.allow_overcommit_;
  wanted.address_hint_ = options.address_hint_;
  wanted.access_ = options.access_;
  wanted.in_core_dumps_ = options.in_core_dumps_;
  Open(CreateSegment(wanted), true);
}

void PosixShmMmap::shm_attach(const std::string& url, const PosixShmAttachOptions& options) {
  RequireClosed("shm_attach");
  ExistingSegment wanted;
  wanted.type_ = kType;
  wanted.url_ = url;
  wanted.unnamed_ = UnnamedUrl::Parse(url);
  if (!wanted.unnamed_.has_value()) wanted.path_ = SegmentPath(url);
  wanted.timeout_ms_ = options.timeout_ms_;
  wanted.address_hint_ = options.address_hint_;
  wanted.access_ = options.access_;
  wanted.in_core_dumps_ = options.in_core_dumps_;
  Open(AttachSegment(wanted), false);
}

}  // namespace hshm::ipc
