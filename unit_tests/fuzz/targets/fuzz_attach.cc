/**
 * Attaching to whatever stands in a region: refused with an Error, or served. Who was served may be
 * stopped later with the name of a defect, never by a failed CHECK, where words are wrong that
 * change while a heap is used. Nothing outside of the region is touched, nobody waits two seconds
 * for the dead.
 *
 *   input: kind of allocator, flags, what to do, [size,] patches {zone, at, operation, value} ...
 */
#include <unistd.h>
#include <array>
#include <cstdint>
#include <cstring>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <typeinfo>
#include <vector>

#include "fuzz/targets/guarded_memory.h"
#include "fuzz/targets/input.h"
#include "fuzz/targets/made_up_system.h"
#include "hermes_shm/base/crc32c.h"
#include "hermes_shm/base/error.h"
#include "hermes_shm/memory/allocator/buddy_allocator.h"
#include "hermes_shm/memory/allocator/multi_process_allocator.h"
#include "hermes_shm/memory/allocator/scalable_page_allocator.h"
#include "hermes_shm/memory/allocator/stack_allocator.h"
#include "hermes_shm/memory/backend/array_backend.h"

namespace hshm::fuzz {
namespace {

using ipc::AllocatorHeader;
using ipc::ArrayBackend;
using ipc::BackendHeader;
using ipc::Offset;
using ipc::Region;

constexpr uint64_t kBytes = 256 * 1024;
constexpr int kMostPatches = 24;

/** What a byte of the input asks for. */
enum Flag : uint8_t {
  kRightChecksum = 1,  // of the backend's header, computed again after the patches
  kOtherSize = 2,      // the array is shorter or longer than the header says
  kFromNothing = 4,    // patches of zeros, not of a segment that was left
};
enum Task : uint8_t { kAllocate = 1, kFindRoot = 2, kCheck = 4, kCount = 8, kRecover = 16 };

/** A part of the region that patches go to. */
struct Zone {
  Offset begin_;
  Offset end_;
};
using Zones = std::array<Zone, 4>;

GuardedMemory& Memory() {
  static GuardedMemory memory(kBytes);
  return memory;
}

/** A handle that can be let go in the middle of a call, as by a death. */
template <typename AllocT>
class Handle : public AllocT {
 public:
  void Abandon() noexcept { this->EndAttachment(); }
};

/** The segment that a killed process has left, and who attaches to it. */
template <typename AllocT>
class Segment {
 public:
  Segment() : image_(kBytes) {
    ArrayBackend backend;
    backend.shm_init(ipc::MemoryBackendId(6), kBytes, Memory().base());
    Handle<AllocT> dead;
    dead.shm_init(ipc::AllocatorId(1, 0), 0, backend.region());
    for (const size_t bytes : {64, 100, 3000, 64, 5000}) {
      const auto block = dead.template Allocate<char>(HSHM_DEFAULT_MEM_CTX, bytes);
      if (bytes == 100) dead.SetRoot("kept", block);
      if (bytes == 3000) dead.Free(HSHM_DEFAULT_MEM_CTX, block);
    }
    const Offset allocator = ipc::AllocatorOffsetFor(kBytes);
    const Offset core = backend.region().At<AllocatorHeader>(allocator)->core_offset_;
    zones_ = {{{0, sizeof(BackendHeader)},
               {ipc::kBackendHeaderBytes, ipc::kBackendHeaderBytes + 4 * sizeof(ipc::SlotEntry)},
               {allocator, allocator + offsetof(AllocatorHeader, roots_) + sizeof(ipc::RootEntry)},
               {core, core + 1024}}};
    std::memcpy(image_.data(), Memory().base(), kBytes);
    dead.Abandon();
  }

  void Try(Input* input) {
    const auto flags = input->Take<uint8_t>();
    const auto tasks = input->Take<uint8_t>();
    uint64_t size_bytes = kBytes;
    if ((flags & kOtherSize) != 0) size_bytes = input->Take<uint32_t>() % (kBytes + 1) & ~63u;
    char* const base = Memory().BaseFor(size_bytes);
    if ((flags & kFromNothing) != 0) {
      std::memset(base, 0, size_bytes);
    } else {
      std::memcpy(base, image_.data(), size_bytes);
    }
    for (int i = 0; i < kMostPatches && !input->IsEmpty(); ++i) Patch(base, size_bytes, input);
    if ((flags & kRightChecksum) != 0 && size_bytes >= sizeof(BackendHeader)) {
      auto* const header = reinterpret_cast<BackendHeader*>(base);
      header->crc32c_ = Crc32c(header, offsetof(BackendHeader, crc32c_));
    }
    Attach(base, size_bytes, tasks);
  }

 private:
  void Patch(char* base, uint64_t size_bytes, Input* input) const {
    const Zone& zone = zones_[input->Take<uint8_t>() % zones_.size()];
    const Offset at = zone.begin_ + input->Take<uint16_t>() % (zone.end_ - zone.begin_);
    const auto how = input->Take<uint8_t>();
    if ((how & 0x80) != 0) {  // up to 128 bytes as they are
      char bytes[128];
      const size_t length = input->Copy(bytes, size_t{how & 0x7fu} + 1);
      if (at + length <= size_bytes) std::memcpy(base + at, bytes, length);
      return;
    }
    const auto value = input->Take<uint64_t>();
    const size_t width = size_t{1} << (how & 3);
    if (at + width > size_bytes) return;
    uint64_t word = 0;
    std::memcpy(&word, base + at, width);
    switch (how >> 2 & 3) {
      case 0:
        word = value;
        break;
      case 1:
        word += value;
        break;
      case 2:
        word ^= uint64_t{1} << value % 64;
        break;
      default:
        word *= value;
    }
    std::memcpy(base + at, &word, width);
  }

  static void Attach(char* base, uint64_t size_bytes, uint8_t tasks) {
    ArrayBackend backend;
    Handle<AllocT> alloc;
    Region region;
    BeginWaits(&region);
    volatile bool is_attached = false;  // read after a longjmp
    const char* const defect = DefectIn([&]() noexcept {
      try {
        backend.shm_attach(base, size_bytes);
        region = backend.region();
        alloc.shm_attach(region);
        is_attached = true;
      } catch (const Error& error) {
        if (std::string_view(error.what()).empty()) Fail("an error without a sentence");
        return;
      }
      Use(&alloc, region, tasks);
      alloc.shm_detach();
    });
    BeginWaits(nullptr);
    if (defect == nullptr) return;
    alloc.Abandon();
    if (!is_attached) Fail("attaching was stopped, by", detail::about);
    for (const char* allowed :
         {"Corruption", "ForeignPointer", "InvalidFree", "DoubleFree", "OverlappingBlock"}) {
      if (std::string_view(defect) == allowed) return;
    }
    Fail("a stop that nothing in the region explains:", detail::about);
  }

  static void Use(Handle<AllocT>* alloc, const Region& region, uint8_t tasks) noexcept {
    if ((tasks & kFindRoot) != 0) {
      const auto root = alloc->template FindRoot<char>("kept");
      if (!root.IsNull() && !region.Contains(root.ptr_)) Fail("a root outside of the region");
    }
    if ((tasks & kCount) != 0) {
      try {
        static_cast<void>(alloc->GetStats());
      } catch (const std::bad_alloc&) {
        Fail("statistics that need too much memory");
      }
    }
    if ((tasks & kCheck) != 0) static_cast<void>(alloc->Check());
    if constexpr (requires { alloc->Recover(); }) {
      if ((tasks & kRecover) != 0) static_cast<void>(alloc->Recover());
    }
    for (const size_t bytes : {64, 3000, 20'000}) {
      if ((tasks & kAllocate) == 0) break;
      const auto block = alloc->template Allocate<char>(HSHM_DEFAULT_MEM_CTX, bytes);
      if (block.IsNull()) continue;
      if (!region.Contains(block.ptr_) || !region.Contains(block.ptr_ + bytes - 1)) {
        Fail("a block outside of the region");
      }
      alloc->Free(HSHM_DEFAULT_MEM_CTX, block);
    }
  }

  std::vector<char> image_;
  Zones zones_;
};

template <typename AllocT>
void Try(Input* input) {
  static Segment<AllocT> segment;
  segment.Try(input);
}

constexpr void (*kKinds[])(Input*) = {
    Try<ipc::StackAllocator>,
    Try<ipc::BuddyAllocator>,
    Try<ipc::SmallScalablePageAllocator>,
    Try<ipc::BasicMultiProcessAllocator<ipc::multi_process::SmallPages>>,
    Try<ipc::CheckedSmallMultiProcessAllocator>,
};

}  // namespace
}  // namespace hshm::fuzz

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* bytes, size_t size) {
  hshm::fuzz::Input input(bytes, size);
  const auto kind = input.Take<uint8_t>();
  hshm::fuzz::kKinds[kind % std::size(hshm::fuzz::kKinds)](&input);
  return 0;
}
