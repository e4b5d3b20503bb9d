/** The program of docs/kernels.md: what stands between the marks stands there, word for word. */
#include <cstdlib>
#include <memory>

#include "gpu/cases.h"
#include "gpu/runtime.h"

// [begin]
#include "hermes_shm/data_structures/ring_buffer.h"
#include "hermes_shm/memory/allocator/stack_allocator.h"
#include "hermes_shm/memory/backend/array_backend.h"

using namespace hshm::ipc;

using Ring = ring_buffer<uint64_t, StackAllocator, RingKind::kMpsc>;

/** Each thread makes an object and pushes where it lies. */
__global__ void MakeSquares(StackAllocatorView alloc, mpsc_ring_view<uint64_t> made) {
  const uint64_t me = uint64_t{blockIdx.x} * blockDim.x + threadIdx.x;
  const auto square = alloc.NewObj<uint64_t>(HSHM_DEFAULT_MEM_CTX, me * me);
  if (square.IsNull()) return;  // no room: a null pointer, as on the host
  while (made.try_push(square.shm_.off_.load()) == RingResult::kFull) {}
}

/** host, size_bytes: an array of the host; kernel_base: where kernels see its first byte.
 * @return the sum of the squares, read by the host */
uint64_t SumOfSquares(char* host, size_t size_bytes, char* kernel_base) {
  ArrayBackend backend;
  backend.shm_init(MemoryBackendId(1), size_bytes, host);
  auto* alloc = backend.MakeAlloc<StackAllocator>(AllocatorId(1, 0));
  Ring made;
  made.shm_init(alloc, 1024);

  MakeSquares<<<4, 128>>>(alloc->View(kernel_base), made.View(kernel_base));
  hshm::test::WaitForKernels();  // checks the launch, and waits: the host's turn comes after that

  uint64_t sum = 0;
  uint64_t offset = 0;
  while (made.try_pop(offset) == RingResult::kDone) {
    const FullPtr<uint64_t> square(alloc, offset);  // the same offset, at the host's address
    sum += *square;
    alloc->DelObj(HSHM_DEFAULT_MEM_CTX, square);
  }
  return sum;
}
// [end]

namespace hshm::test {

void DocumentedCase() {
  constexpr size_t kBytes = size_t{1} << 20;
  const std::unique_ptr<char, decltype(&std::free)> array(
      static_cast<char*>(std::aligned_alloc(4096, kBytes)), &std::free);
  const PinnedArray pinned(array.get(), kBytes);
  constexpr uint64_t n = 512;
  Expect(SumOfSquares(array.get(), kBytes, pinned.kernel_base()) == (n - 1) * n * (2 * n - 1) / 6,
         "the host finds what the kernel of docs/kernels.md made");
}

}  // namespace hshm::test
