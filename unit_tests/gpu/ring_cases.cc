#include <cstdint>
#include <cstdlib>
#include <memory>
#include <vector>

#include "gpu/cases.h"
#include "gpu/runtime.h"
#include "hermes_shm/data_structures/ring_buffer.h"
#include "hermes_shm/memory/allocator/stack_allocator.h"
#include "hermes_shm/memory/backend/array_backend.h"

namespace {

using hshm::ipc::ArrayBackend;
using hshm::ipc::RingKind;
using hshm::ipc::RingResult;
using hshm::ipc::StackAllocator;
using Spsc = hshm::ipc::ring_buffer<uint64_t, StackAllocator, RingKind::kSpsc>;
using Mpsc = hshm::ipc::ring_buffer<uint64_t, StackAllocator, RingKind::kMpsc>;
using Mpmc = hshm::ipc::ring_buffer<uint64_t, StackAllocator, RingKind::kMpmc>;
using SpscView = hshm::ipc::spsc_ring_view<uint64_t>;

constexpr size_t kRegionBytes = size_t{4} << 20;
// A kernel that waits for the host gives up after so many looks, so that a mistake fails the test.
constexpr uint64_t kLooks = uint64_t{1} << 26;

/** A region in an array of the host that kernels see too. */
struct SharedRegion {
  SharedRegion()
      : array_(static_cast<char*>(std::aligned_alloc(4096, kRegionBytes)), &std::free),
        pinned_(array_.get(), kRegionBytes) {
    backend_.shm_init(hshm::ipc::MemoryBackendId(1), kRegionBytes, array_.get());
    alloc_ = backend_.MakeAlloc<StackAllocator>(hshm::ipc::AllocatorId(1, 0));
  }

  std::unique_ptr<char, decltype(&std::free)> array_;
  hshm::test::PinnedArray pinned_;
  ArrayBackend backend_;
  StackAllocator* alloc_;
};

/** Each thread pushes `each` numbers of its own; tries again while the ring is full. */
template <typename View>
__global__ void PushAll(View ring, uint64_t each, hshm::Atomic<uint64_t>* given_up) {
  const uint64_t me = uint64_t{blockIdx.x} * blockDim.x + threadIdx.x;
  uint64_t looks = 0;
  for (uint64_t i = 0; i < each && looks < kLooks;) {
    // A lane that finds the ring full goes round with the others: nobody waits inside of a branch.
    if (ring.try_push(me * each + i) == RingResult::kDone) {
      ++i;
    } else {
      ++looks;
    }
  }
  if (looks == kLooks) given_up->fetch_add(1);
}

/** Each thread pops `count` numbers; what they add up to is added to *sum. */
template <typename View>
__global__ void PopAll(View ring, uint64_t count, hshm::Atomic<uint64_t>* sum) {
  uint64_t looks = 0;
  for (uint64_t i = 0; i < count && looks < kLooks;) {
    uint64_t element = 0;
    if (ring.try_pop(element) == RingResult::kDone) {
      sum->fetch_add(element);
      ++i;
    } else {
      ++looks;
    }
  }
}

/** What is popped on the host while a kernel pushes: each number once. */
template <typename Ring>
bool PopsEachOnce(Ring& ring, uint64_t count) {
  std::vector<uint32_t> seen(count, 0);
  for (uint64_t i = 0; i < count; ++i) {
    uint64_t element = count;
    if (ring.pop(element, 10'000'000) != RingResult::kDone || element >= count) return false;
    if (++seen[element] != 1) return false;
  }
  return true;
}

template <typename Ring>
void KernelToHost(uint64_t capacity, uint32_t blocks, uint32_t threads, uint64_t each) {
  SharedRegion region;
  hshm::test::GpuMemory given_up(sizeof(uint64_t));
  Ring ring;
  ring.shm_init(region.alloc_, capacity);
  PushAll<<<blocks, threads>>>(ring.View(region.pinned_.kernel_base()), each,
                               reinterpret_cast<hshm::Atomic<uint64_t>*>(given_up.base()));
  hshm::test::Expect(PopsEachOnce(ring, uint64_t{blocks} * threads * each),
                     "the host pops what kernels push, each element once");
  hshm::test::WaitForKernels();
  uint64_t lanes = 0;
  given_up.CopyTo(&lanes);
  hshm::test::Expect(lanes == 0, "no lane waits for ever for room in the ring");
  hshm::test::Expect(ring.empty(), "the ring is empty in the end");
}

void HostToKernel() {
  constexpr uint64_t kCount = 20000;
  SharedRegion region;
  hshm::test::GpuMemory sum_memory(sizeof(uint64_t));
  Spsc ring;
  ring.shm_init(region.alloc_, 64);
  PopAll<SpscView><<<1, 1>>>(ring.View(region.pinned_.kernel_base()), kCount,
                             reinterpret_cast<hshm::Atomic<uint64_t>*>(sum_memory.base()));
  bool all_pushed = true;
  for (uint64_t i = 0; i < kCount && all_pushed; ++i) {
    all_pushed = ring.push(i, 10'000'000) == RingResult::kDone;
  }
  hshm::test::WaitForKernels();
  uint64_t sum = 0;
  sum_memory.CopyTo(&sum);
  hshm::test::Expect(all_pushed && sum == kCount * (kCount - 1) / 2,
                     "a kernel pops what the host pushes");
}

/** Kernels alone, one after the other: a ring that is as large as what is pushed. Words that both
 * the host and kernels change by read-modify-write are none that both may use: so it is with MPMC
 * rings. */
template <typename Ring>
void KernelToKernel(uint32_t consumers) {
  constexpr uint64_t kCount = 4096;
  SharedRegion region;
  hshm::test::GpuMemory words(2 * sizeof(uint64_t));
  auto* sum = reinterpret_cast<hshm::Atomic<uint64_t>*>(words.base());
  Ring ring;
  ring.shm_init(region.alloc_, kCount);
  const auto view = ring.View(region.pinned_.kernel_base());
  PushAll<<<32, 128>>>(view, 1, sum + 1);
  PopAll<<<1, consumers>>>(view, kCount / consumers, sum);
  hshm::test::WaitForKernels();
  uint64_t result[2];
  words.CopyTo(result);
  hshm::test::Expect(result[0] == kCount * (kCount - 1) / 2 && result[1] == 0,
                     "a kernel pops what a kernel pushed");
}

}  // namespace

void hshm::test::RingCases() {
  KernelToHost<Spsc>(64, 1, 1, 20000);
  KernelToHost<Mpsc>(16, 1, 1, 10);
  KernelToHost<Mpsc>(16, 1, 32, 10);
  KernelToHost<Mpsc>(16, 10, 1, 10);
  // More lanes than cells: whoever waited for a place in the ring would wait for its own warp.
  KernelToHost<Mpsc>(10, 4, 256, 100);
  KernelToHost<Mpsc>(65536, 64, 256, 10);
  HostToKernel();
  KernelToKernel<Mpsc>(1);
  KernelToKernel<Mpmc>(64);
}
