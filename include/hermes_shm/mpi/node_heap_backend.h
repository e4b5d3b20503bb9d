#ifndef HSHM_MPI_NODE_HEAP_BACKEND_H_
#define HSHM_MPI_NODE_HEAP_BACKEND_H_

#include <cstdint>
#include <memory>
#include <string>

#include "hermes_shm/base/error.h"
#include "hermes_shm/memory/backend/memory_backend.h"
#include "hermes_shm/memory/backend/posix_mmap.h"
#include "hermes_shm/memory/backend/posix_shm_mmap.h"
#include "hermes_shm/mpi/node_heap_options.h"
#include "hermes_shm/mpi/segment_announcement.h"

/** The memory of a NodeHeap: a named segment, one without a name, or a file. */
namespace hshm::mpi {

/** Absolute, because the ranks need not have one working directory. */
inline bool IsFile(const NodeHeapOptions& options) { return options.url_.rfind('/', 0) == 0; }

/** What the options say, or half of what is free where the heap will lie. @throws Error */
inline uint64_t CapacityFor(const NodeHeapOptions& options) {
  if (options.capacity_bytes_ != 0) return options.capacity_bytes_;
  if (!IsFile(options) && options.naming_ == ipc::Naming::kUnnamed) return HalfOfMemory();
  if (!IsFile(options)) return HalfOf(SharedMemoryDirectory());
  const size_t slash = options.url_.rfind('/');
  return HalfOf(slash == 0 ? "/" : options.url_.substr(0, slash));
}

/** The leader's part. @throws Error what shm_init throws */
inline std::unique_ptr<ipc::MemoryBackend> CreateHeapBackend(const NodeHeapOptions& options,
                                                             uint64_t nonce) {
  const auto id = ipc::MemoryBackendId::Get(static_cast<uint32_t>(nonce));
  const uint64_t capacity_bytes = CapacityFor(options);
  if (IsFile(options)) {
    auto file = std::make_unique<ipc::PosixMmap>();
    ipc::PosixMmapOptions made_as;
    made_as.if_exists_ = options.if_exists_;
    made_as.max_size_bytes_ = options.max_capacity_bytes_;
    made_as.huge_pages_ = options.huge_pages_;
    made_as.in_core_dumps_ = options.in_core_dumps_;
    file->shm_init(id, capacity_bytes, options.url_, made_as);
    return file;
  }
  auto segment = std::make_unique<ipc::PosixShmMmap>();
  ipc::PosixShmOptions made_as;
  made_as.if_exists_ = options.if_exists_;
  made_as.max_size_bytes_ = options.max_capacity_bytes_;
  made_as.huge_pages_ = options.huge_pages_;
  made_as.naming_ = options.naming_;
  made_as.in_core_dumps_ = options.in_core_dumps_;
  segment->shm_init(id, capacity_bytes, options.url_.empty() ? UniqueUrl(nonce) : options.url_,
                    made_as);
  return segment;
}

inline ipc::SegmentAttachOptions AttachOptionsOf(const NodeHeapOptions& options) {
  ipc::SegmentAttachOptions attached;
  attached.timeout_ms_ = options.attach_timeout_ms_;
  attached.in_core_dumps_ = options.in_core_dumps_;
  return attached;
}

/** What an earlier job has left in the file of the options; null when there is none.
 * @throws Error what shm_attach throws, but kNotFound */
inline std::unique_ptr<ipc::MemoryBackend> ReopenHeapFile(const NodeHeapOptions& options) {
  auto file = std::make_unique<ipc::PosixMmap>();
  try {
    file->shm_attach(options.url_, AttachOptionsOf(options));
  } catch (const Error& error) {
    if (error.code() == ErrorCode::kNotFound) return nullptr;
    throw;
  }
  return file;
}

/** A follower's part: the segment of the leader, for sure.
 * @throws Error what shm_attach throws; kNotFound when there is another one */
inline std::unique_ptr<ipc::MemoryBackend> AttachHeapBackend(
    const SegmentAnnouncement& announcement, const NodeHeapOptions& of_this_rank) {
  const ipc::SegmentAttachOptions options = AttachOptionsOf(of_this_rank);
  std::unique_ptr<ipc::MemoryBackend> backend;
  try {
    if (announcement.type_ == ipc::MemoryBackendType::kPosixMmap) {
      auto file = std::make_unique<ipc::PosixMmap>();
      file->shm_attach(announcement.url_, options);
      backend = std::move(file);
    } else {
      auto segment = std::make_unique<ipc::PosixShmMmap>();
      segment->shm_attach(announcement.url_, options);
      backend = std::move(segment);
    }
  } catch (const Error& error) {
    const bool has_name = announcement.url_[0] != '/';
    if (error.code() != ErrorCode::kNotFound || !has_name) throw;
    announcement.ThrowNotTheSame("finds nothing of that name");
  }
  if (SegmentStamp::Of(*backend->header()) != announcement.stamp_) {
    announcement.ThrowNotTheSame("finds another segment of that name");
  }
  return backend;
}

}  // namespace hshm::mpi

#endif  // HSHM_MPI_NODE_HEAP_BACKEND_H_
