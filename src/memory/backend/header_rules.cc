#include "hermes_shm/memory/backend/header_rules.h"

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstring>

#include "hermes_shm/base/crc32c.h"
#include "hermes_shm/base/error.h"
#include "hermes_shm/platform/page.h"
#include "hermes_shm/platform/process.h"

namespace hshm::ipc {
namespace {

constexpr uint32_t kEndianMark = 0x01020304;

uint32_t ChecksumOf(const BackendHeader& header) noexcept {
  return Crc32c(&header, offsetof(BackendHeader, crc32c_));
}

std::string Bytes(uint64_t count) { return std::to_string(count) + " bytes"; }

/** How long the file must be at least. Of a growing one only what was ever committed. */
uint64_t LeastBytes(const BackendHeader& copy) noexcept {
  if ((copy.flags_ & kGrowingFile) == 0) return copy.region_bytes_;
  return copy.grown_bytes_.load(std::memory_order_relaxed);  // relaxed: a private copy
}

void CheckSize(const BackendHeader& copy, uint64_t actual_bytes, const std::string& name) {
  const uint64_t least_bytes = LeastBytes(copy);
  if (actual_bytes < least_bytes) {
    throw Error(ErrorCode::kTruncated, name + " has " + Bytes(actual_bytes) + ", its header says " +
                                           Bytes(least_bytes) +
                                           ": it was cut short; create it again.");
  }
  if (actual_bytes > copy.region_bytes_) {
    throw Error(ErrorCode::kSizeMismatch,
                name + " has " + Bytes(actual_bytes) + ", its header says " +
                    ((copy.flags_ & kGrowingFile) != 0 ? "that it grows to at most " : "") +
                    Bytes(copy.region_bytes_) + ": it was changed from outside; create it again.");
  }
}

void CheckAbi(const BackendHeader& copy, const std::string& name) {
  if (copy.endian_ == kEndianMark && copy.word_bytes_ == sizeof(void*) &&
      copy.system_page_bytes_ == SystemPageBytes()) {
    return;
  }
  throw Error(ErrorCode::kAbiMismatch,
              name + " was made with byte order mark " + std::to_string(copy.endian_) + ", " +
                  Bytes(copy.word_bytes_) + " a pointer and " + Bytes(copy.system_page_bytes_) +
                  " a page; here they are " + std::to_string(kEndianMark) + ", " +
                  std::to_string(sizeof(void*)) + " and " + std::to_string(SystemPageBytes()) +
                  ": run all processes on one kind of machine and build.");
}

void CheckVersion(const BackendHeader& copy, const std::string& name) {
  if (copy.layout_version_ == kBackendLayoutVersion) return;
  throw Error(ErrorCode::kVersionMismatch,
              name + " has layout version " + std::to_string(copy.layout_version_) +
                  ", this library reads version " + std::to_string(kBackendLayoutVersion) +
                  ": link all processes with one release of hshm.");
}

bool GeometryIsRight(const BackendHeader& copy) noexcept {
  return copy.region_bytes_ >= kMinRegionBytes && copy.slots_offset_ == kBackendHeaderBytes &&
         copy.slot_count_ == SlotCountFor(copy.region_bytes_) &&
         copy.allocator_offset_ == AllocatorOffsetFor(copy.region_bytes_) &&
         LeastBytes(copy) >= copy.allocator_offset_ && LeastBytes(copy) <= copy.region_bytes_;
}

}  // namespace

void CheckRegionSize(uint64_t region_bytes) {
  if (region_bytes < kMinRegionBytes) {
    throw Error(ErrorCode::kOutOfRange, "A region of " + Bytes(region_bytes) +
                                            " was asked for, the smallest is " +
                                            Bytes(kMinRegionBytes) + ": ask for more.");
  }
  // Offsets are signed on the way through the system, and pointer differences in the language.
  if (region_bytes > static_cast<uint64_t>(PTRDIFF_MAX) - SystemPageBytes()) {
    throw Error(ErrorCode::kOutOfRange, "A region of " + Bytes(region_bytes) +
                                            " was asked for, more than a process can address: "
                                            "ask for less.");
  }
}

void FillHeader(BackendHeader* header, MemoryBackendType type, MemoryBackendId id,
                uint64_t region_bytes, uint32_t flags, uint64_t file_bytes) {
  header->magic_ = kBackendMagic;
  header->endian_ = kEndianMark;
  header->layout_version_ = kBackendLayoutVersion;
  header->word_bytes_ = sizeof(void*);
  header->system_page_bytes_ = static_cast<uint32_t>(SystemPageBytes());
  header->type_ = type;
  header->backend_id_ = id.id_;
  header->region_bytes_ = region_bytes;
  header->slots_offset_ = kBackendHeaderBytes;
  header->slot_count_ = SlotCountFor(region_bytes);
  header->creator_pid_ = ProcessId();
  header->allocator_offset_ = AllocatorOffsetFor(region_bytes);
  header->creator_start_time_ = StartTime(ProcessId());
  const std::string boot_id = BootId();
  std::memcpy(header->boot_id_, boot_id.data(),
              std::min(boot_id.size(), sizeof(header->boot_id_) - 1));
  header->flags_ = flags;
  header->crc32c_ = ChecksumOf(*header);
  header->grown_bytes_.store(file_bytes, std::memory_order_relaxed);  // relaxed: nobody sees it yet
}

void CheckHeader(const BackendHeader& copy, MemoryBackendType type, uint64_t actual_bytes,
                 const std::string& name) {
  if (actual_bytes < kBackendHeaderBytes) {
    throw Error(ErrorCode::kTruncated, name + " has " + Bytes(actual_bytes) +
                                           ", not even the header of a segment: it was cut short, "
                                           "or is no segment.");
  }
  if (copy.magic_ != kBackendMagic) {
    throw Error(ErrorCode::kNotASegment,
                name + " does not begin like a segment of hshm: check the name.");
  }
  CheckSize(copy, actual_bytes, name);
  CheckAbi(copy, name);
  CheckVersion(copy, name);
  if (copy.type_ != type) {
    throw Error(ErrorCode::kWrongBackend, name + " was made by " + BackendTypeName(copy.type_) +
                                              ", attach was asked of " + BackendTypeName(type) +
                                              ": attach with the backend that made it.");
  }
  if (copy.ready_.load(std::memory_order_acquire) != 1) {  // pairs with the creator's release
    throw Error(ErrorCode::kNotReady,
                name + " has not been published by its creator: wait, or create it again.");
  }
  if (copy.crc32c_ != ChecksumOf(copy) || !GeometryIsRight(copy)) {
    throw Error(ErrorCode::kCorrupt,
                "The header of " + name + " does not agree with its checksum: create it again.");
  }
}

const char* BackendTypeName(MemoryBackendType type) noexcept {
  constexpr std::array kNames = {"PosixShmMmap", "MallocBackend", "ArrayBackend",
                                 "PosixMmap",    "GpuMalloc",     "GpuShmMmap"};
  const auto index = static_cast<size_t>(type);
  return index < kNames.size() ? kNames[index] : "an unknown kind of backend";
}

}  // namespace hshm::ipc
