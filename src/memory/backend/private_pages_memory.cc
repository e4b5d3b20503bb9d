#include "memory/backend/private_pages_memory.h"

#include <string>
#include <utility>

#include "hermes_shm/base/bits.h"
#include "hermes_shm/base/error.h"
#include "hermes_shm/platform/huge_pages.h"
#include "hermes_shm/platform/page.h"
#include "hermes_shm/platform/private_pages.h"
#include "memory/backend/bind_range.h"
#include "memory/backend/page_choice.h"
#include "memory/backend/private_memory.h"
#include "memory/backend/segment_file.h"

namespace hshm::ipc {
namespace {

/** A range of private pages; unmapped at the end. */
class Mapping {
 public:
  Mapping() = default;
  Mapping(void* base, uint64_t size_bytes) noexcept : base_(base), size_bytes_(size_bytes) {}
  ~Mapping() {
    if (base_ != nullptr) UnmapPrivate(base_, size_bytes_);
  }
  Mapping(Mapping&& other) noexcept
      : base_(std::exchange(other.base_, nullptr)), size_bytes_(other.size_bytes_) {}
  Mapping& operator=(Mapping&&) = delete;

  char* data() const noexcept { return static_cast<char*>(base_); }

 private:
  void* base_ = nullptr;
  uint64_t size_bytes_ = 0;
};

class PrivatePagesMemory final : public PrivateMemory {
 public:
  PrivatePagesMemory(Mapping mapping, char* base, uint64_t size_bytes, PageReport pages)
      : PrivateMemory(base, size_bytes), mapping_(std::move(mapping)), pages_(std::move(pages)) {}

  PageReport Pages() const override { return pages_; }

  /** A page that went back to the pool might be gone when it is touched again: those stay. */
  void Decommit(Offset offset, uint64_t bytes) noexcept override {
    HSHM_CHECK(offset <= size_bytes());
    HSHM_CHECK(bytes <= size_bytes() - offset);
    if (pages_.kind_ == PageKind::kHugePool) return;
    const uint64_t begin = bits::AlignUp(offset, SystemPageBytes());
    const uint64_t end = bits::AlignDown(offset + bytes, SystemPageBytes());
    if (begin < end) DropPrivate(base() + begin, end - begin);
  }

  bool CommitsZeroed() const noexcept override { return pages_.kind_ != PageKind::kHugePool; }

  bool Bind(Offset offset, uint64_t bytes, uint32_t node) noexcept override {
    return BindRange(&placer_, *this, offset, bytes, node);
  }

 private:
  Mapping mapping_;
  PageReport pages_;
  MemoryPlacer placer_;
};

Error NoAddresses(uint64_t size_bytes, const PageReport& pages, int os_errno) {
  const std::string asked = "A private region of " + HumanBytes(size_bytes) + " was asked for";
  if (pages.kind_ == PageKind::kHugePool) {
    return Error(ErrorCode::kNoSpace,
                 asked +
                     " and the pool of huge pages has no room: ask for less, or write a larger "
                     "number to /proc/sys/vm/nr_hugepages.",
                 os_errno);
  }
  return Error(ErrorCode::kNoSpace,
               asked +
                   " and the system gave no addresses: ask for less, or raise the limit of the "
                   "address space (ulimit -v) or of overcommitted memory.",
               os_errno);
}

}  // namespace

std::unique_ptr<BackendMemory> MapPrivateRegion(uint64_t size_bytes, HugePages huge_pages) {
  PageReport pages = ChoosePrivatePages(huge_pages, size_bytes);
  const uint64_t region_bytes = bits::AlignUp(size_bytes, pages.page_bytes_);
  // Transparent huge pages begin at multiples of their size: room to choose such a start.
  const bool is_transparent = pages.kind_ == PageKind::kTransparentHuge;
  const uint64_t mapped_bytes = region_bytes + (is_transparent ? pages.page_bytes_ : 0);
  void* mapped = nullptr;
  const int error = pages.kind_ == PageKind::kHugePool
                        ? MapPrivateFromPool(mapped_bytes, pages.page_bytes_, &mapped)
                        : MapPrivate(mapped_bytes, ForkRule::kCopy, &mapped);
  if (error != 0) throw NoAddresses(size_bytes, pages, error);
  Mapping mapping(mapped, mapped_bytes);
  const auto address = reinterpret_cast<uintptr_t>(mapped);
  char* const base = mapping.data() + (bits::AlignUp(address, pages.page_bytes_) - address);
  if (is_transparent) {
    if (const int refused = AskForHugePages(base, region_bytes); refused != 0) {
      throw Error(ErrorCode::kSystem, "Asking for huge pages failed: see the system's reason.",
                  refused);
    }
    CheckFirstHugePage(huge_pages, base, pages.page_bytes_, "private memory");
  }
  return std::make_unique<PrivatePagesMemory>(std::move(mapping), base, region_bytes,
                                              std::move(pages));
}

}  // namespace hshm::ipc
