#include <cstdint>
#include <memory>
#include <vector>

#include "gpu/cases.h"
#include "gpu/runtime.h"
#include "hermes_shm/memory/allocator/buddy_allocator.h"
#include "hermes_shm/memory/allocator/stack_allocator.h"
#include "hermes_shm/memory/backend/array_backend.h"

namespace {

using hshm::ipc::AllocatorId;
using hshm::ipc::ArrayBackend;
using hshm::ipc::BuddyAllocator;
using hshm::ipc::FullPtr;
using hshm::ipc::OffsetPtr;
using hshm::ipc::StackAllocator;

constexpr size_t kRegionBytes = size_t{64} << 20;
constexpr uint32_t kBlocks = 32;
constexpr uint32_t kThreads = 128;
constexpr uint64_t kLanes = uint64_t{kBlocks} * kThreads;

/** What one lane has of the allocator. */
struct Note {
  uint64_t offset_ = 0;
  uint64_t size_ = 0;
};

struct Pair {
  uint64_t first_;
  uint64_t second_;
};

__device__ uint64_t Lane() { return uint64_t{blockIdx.x} * blockDim.x + threadIdx.x; }

__device__ uint8_t ByteOf(uint64_t lane) { return static_cast<uint8_t>(lane * 37 + 11); }

template <typename View>
__device__ void Fill(const View& alloc, const Note& note) {
  uint8_t* bytes = alloc.Convert(OffsetPtr<uint8_t>(note.offset_));
  for (uint64_t i = 0; i < note.size_; ++i) bytes[i] = ByteOf(Lane());
}
template <typename View>
__device__ bool IsFilled(const View& alloc, const Note& note) {
  const uint8_t* bytes = alloc.Convert(OffsetPtr<uint8_t>(note.offset_));
  for (uint64_t i = 0; i < note.size_; ++i) {
    if (bytes[i] != ByteOf(Lane())) return false;
  }
  return true;
}

/** Each lane takes a block of a size of its own and fills it; *wrong counts what went wrong. */
template <typename View>
__global__ void TakeBlocks(View alloc, Note* notes, hshm::Atomic<uint64_t>* wrong) {
  const uint64_t lane = Lane();
  Note note{0, 16 + lane % 300};
  const FullPtr<char> block = alloc.template Allocate<char>(HSHM_DEFAULT_MEM_CTX, note.size_);
  if (block.IsNull()) {
    wrong->fetch_add(1);
    return;
  }
  note.offset_ = block.shm_.off_.load();
  Fill(alloc, note);
  notes[lane] = note;
}

/** Odd lanes free their blocks, the others grow theirs, in which every byte must be as it was. */
template <typename View>
__global__ void FreeAndGrow(View alloc, Note* notes, hshm::Atomic<uint64_t>* wrong) {
  const uint64_t lane = Lane();
  Note& note = notes[lane];
  if (!IsFilled(alloc, note)) wrong->fetch_add(1);
  if (lane % 2 == 1) {
    alloc.FreeOffset(HSHM_DEFAULT_MEM_CTX, OffsetPtr<>(note.offset_));
    note = Note();
    return;
  }
  const OffsetPtr<> grown =
      alloc.ReallocateOffset(HSHM_DEFAULT_MEM_CTX, OffsetPtr<>(note.offset_), note.size_ + 200);
  if (grown.IsNull()) {
    wrong->fetch_add(1);
    return;
  }
  note.offset_ = grown.load();
  if (!IsFilled(alloc, note)) wrong->fetch_add(1);
  note.size_ += 200;
  Fill(alloc, note);
}

/** All lanes at once allocate and free, many times; what they have in between is theirs alone. */
template <typename View>
__global__ void Churn(View alloc, uint32_t rounds, hshm::Atomic<uint64_t>* wrong) {
  for (uint32_t round = 0; round < rounds; ++round) {
    const FullPtr<Pair> pair =
        alloc.template NewObj<Pair>(HSHM_DEFAULT_MEM_CTX, Pair{Lane(), round});
    if (pair.IsNull()) {
      wrong->fetch_add(1);
      continue;
    }
    if (pair->first_ != Lane() || pair->second_ != round) wrong->fetch_add(1);
    alloc.DelObj(HSHM_DEFAULT_MEM_CTX, pair);
  }
}

/** The host makes the region, the GPU works on a copy of it, the host checks what came back. */
template <typename AllocT>
void OnACopy(const char* no_failure, const char* is_sound, const char* is_usable) {
  std::vector<char> memory(kRegionBytes + 64);
  char* array = memory.data() + (64 - reinterpret_cast<uintptr_t>(memory.data()) % 64) % 64;
  ArrayBackend backend;
  backend.shm_init(hshm::ipc::MemoryBackendId(1), kRegionBytes, array);
  AllocT* alloc = backend.MakeAlloc<AllocT>(AllocatorId(1, 0));
  const FullPtr<char> before = alloc->template Allocate<char>(HSHM_DEFAULT_MEM_CTX, 100);

  hshm::test::GpuMemory region(kRegionBytes);
  hshm::test::GpuMemory notes_memory(kLanes * sizeof(Note));
  hshm::test::GpuMemory wrong_memory(sizeof(uint64_t));
  region.CopyFrom(array);
  const auto view = alloc->View(region.base());
  auto* notes = reinterpret_cast<Note*>(notes_memory.base());
  auto* wrong = reinterpret_cast<hshm::Atomic<uint64_t>*>(wrong_memory.base());
  TakeBlocks<<<kBlocks, kThreads>>>(view, notes, wrong);
  FreeAndGrow<<<kBlocks, kThreads>>>(view, notes, wrong);
  Churn<<<kBlocks, kThreads>>>(view, 4, wrong);
  hshm::test::WaitForKernels();

  region.CopyTo(array);
  std::vector<Note> taken(kLanes);
  notes_memory.CopyTo(taken.data());
  uint64_t failures = 0;
  wrong_memory.CopyTo(&failures);
  hshm::test::Expect(failures == 0, no_failure);
  hshm::test::Expect(alloc->Check(), is_sound);
  for (const Note& note : taken) {
    if (note.offset_ != 0) alloc->FreeOffset(HSHM_DEFAULT_MEM_CTX, OffsetPtr<>(note.offset_));
  }
  alloc->Free(HSHM_DEFAULT_MEM_CTX, before);
  hshm::test::Expect(alloc->Check() && alloc->GetCurrentlyAllocatedSize() == 0, is_usable);
}

}  // namespace

void hshm::test::AllocatorCases() {
  OnACopy<StackAllocator>("kernels allocate from a StackAllocator",
                          "what kernels left of a StackAllocator is sound",
                          "the host frees what kernels took from a StackAllocator");
  OnACopy<BuddyAllocator>("kernels allocate from a BuddyAllocator",
                          "what kernels left of a BuddyAllocator is sound",
                          "the host frees what kernels took from a BuddyAllocator");
}
