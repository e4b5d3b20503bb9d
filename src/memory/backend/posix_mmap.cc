#include "hermes_shm/memory/backend/posix_mmap.h"

#include <memory>
#include <string>
#include <utility>

#include "hermes_shm/base/bits.h"
#include "hermes_shm/base/error.h"
#include "hermes_shm/memory/backend/header_rules.h"
#include "hermes_shm/platform/page.h"
#include "hermes_shm/platform/private_pages.h"
#include "memory/backend/bind_range.h"
#include "memory/backend/new_file.h"
#include "memory/backend/private_memory.h"
#include "memory/backend/segment.h"
#include "memory/backend/segment_file.h"

namespace hshm::ipc {
namespace {

/** Pages that the system supplies when they are touched. */
class PrivatePagesMemory final : public PrivateMemory {
 public:
  explicit PrivatePagesMemory(PrivatePages<char> pages)
      : PrivateMemory(pages.data(), pages.size()), pages_(std::move(pages)) {}

  void Decommit(Offset offset, uint64_t size_bytes) noexcept override {
    HSHM_CHECK(offset <= pages_.size());
    HSHM_CHECK(size_bytes <= pages_.size() - offset);
    const uint64_t page = SystemPageBytes();
    const uint64_t begin = bits::AlignUp(offset, page);
    const uint64_t end = bits::AlignDown(offset + size_bytes, page);
    if (begin < end) DropPrivate(pages_.data() + begin, end - begin);
  }
  bool Bind(Offset offset, uint64_t size_bytes, uint32_t node) noexcept override {
    return BindRange(&placer_, *this, offset, size_bytes, node);
  }

 private:
  PrivatePages<char> pages_;
  MemoryPlacer placer_;
};

}  // namespace

void PosixMmap::shm_init(MemoryBackendId id, size_t size) {
  RequireClosed("shm_init");
  CheckRegionSize(size);
  PrivatePages<char> pages;
  const int error = pages.Reserve(bits::AlignUp(size, SystemPageBytes()));
  if (error != 0) {
    throw Error(ErrorCode::kNoSpace,
                "A private region of " + HumanBytes(size) +
                    " was asked for and the system gave no addresses: ask for less, or raise the "
                    "limit of the address space (ulimit -v) or of overcommitted memory.",
                error);
  }
  auto* header = reinterpret_cast<BackendHeader*>(pages.data());
  FillHeader(header, kType, id, pages.size());
  header->ready_.store(1, std::memory_order_release);  // pairs with CheckHeader
  Open(std::make_unique<PrivatePagesMemory>(std::move(pages)), true);
}

void PosixMmap::shm_init(MemoryBackendId id, size_t size, const std::string& path,
                         const PosixMmapOptions& options) {
  RequireClosed("shm_init");
  NewSegment wanted;
  wanted.type_ = kType;
  wanted.id_ = id;
  wanted.path_ = FilePath(path);
  wanted.size_bytes_ = size;
  wanted.max_size_bytes_ = options.max_size_bytes_;
  wanted.if_exists_ = options.if_exists_;
  wanted.allow_overcommit_ = options.allow_overcommit_;
  wanted.address_hint_ = options.address_hint_;
  Open(CreateSegment(wanted), true);
}

void PosixMmap::shm_attach(const std::string& path, const PosixMmapAttachOptions& options) {
  RequireClosed("shm_attach");
  ExistingSegment wanted;
  wanted.type_ = kType;
  wanted.path_ = FilePath(path);
  wanted.timeout_ms_ = options.timeout_ms_;
  wanted.address_hint_ = options.address_hint_;
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
