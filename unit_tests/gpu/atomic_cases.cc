#include <cstdint>

#include "gpu/cases.h"
#include "gpu/runtime.h"
#include "hermes_shm/sync/atomic.h"

namespace {

constexpr uint32_t kBlocks = 64;
constexpr uint32_t kThreads = 128;
constexpr uint64_t kAll = uint64_t{kBlocks} * kThreads;

enum class Colour : uint8_t { kRed, kBlue };

struct Words {
  hshm::Atomic<uint64_t> sum_;
  hshm::Atomic<uint32_t> sum_by_cas_;
  hshm::Atomic<uint16_t> below_;
  hshm::Atomic<uint32_t> bits_;
  hshm::Atomic<Colour> colour_;
  hshm::Atomic<uint64_t> last_;
  hshm::Atomic<uint64_t> exchanged_;
};

/** relaxed throughout: each word is looked at alone, and after the kernel. */
__global__ void Touch(Words* words) {
  const uint64_t me = uint64_t{blockIdx.x} * blockDim.x + threadIdx.x + 1;
  words->sum_.fetch_add(me);
  words->below_.fetch_sub(1, std::memory_order_relaxed);               // relaxed: as above
  words->bits_.fetch_or(1u << me % 32, std::memory_order_relaxed);     // relaxed: as above
  uint32_t seen = words->sum_by_cas_.load(std::memory_order_relaxed);  // relaxed: as above
  while (!words->sum_by_cas_.compare_exchange_weak(seen, seen + 1)) {}
  Colour red = Colour::kRed;
  words->colour_.compare_exchange_strong(red, Colour::kBlue);
  // What all exchanges returned and what is left in the word at the end add up to all that was put.
  words->exchanged_.fetch_add(words->last_.exchange(me));
}

}  // namespace

void hshm::test::AtomicCases() {
  GpuMemory memory(sizeof(Words));
  Touch<<<kBlocks, kThreads>>>(reinterpret_cast<Words*>(memory.base()));
  WaitForKernels();
  Words words;
  memory.CopyTo(&words);
  const uint64_t sum = kAll * (kAll + 1) / 2;
  Expect(words.sum_.load() == sum, "fetch_add counts each thread once");
  Expect(words.sum_by_cas_.load() == kAll, "compare_exchange counts each thread once");
  Expect(words.below_.load() == static_cast<uint16_t>(0 - kAll), "fetch_sub of 2 bytes wraps");
  Expect(words.bits_.load() == ~uint32_t{0}, "fetch_or keeps all bits");
  Expect(words.colour_.load() == Colour::kBlue, "an enumeration of 1 byte can be exchanged");
  Expect(words.exchanged_.load() + words.last_.load() == sum, "exchange loses nothing");
}
