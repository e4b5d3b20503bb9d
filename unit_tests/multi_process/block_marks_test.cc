#include "hermes_shm/memory/allocator/multi_process/block_marks.h"

#include <atomic>
#include <thread>

#include "hermes_shm/memory/backend/malloc_backend.h"
#include "support/catch.h"

namespace hshm::ipc::multi_process {
namespace {

constexpr uint64_t kMarks = 1 << 17;

/** Frees all blocks in order, in step with another thread. @return how many were this one's */
uint64_t FreeAll(const BlockMarks& marks, std::atomic<uint64_t>* arrived) {
  uint64_t freed = 0;
  for (uint64_t i = 0; i < kMarks; ++i) {
    const bool is_last = arrived->fetch_add(1) == 2 * i + 1;
    for (uint32_t turn = 1; arrived->load() < 2 * i + 2; ++turn) {
      if (turn % 4096 == 0) std::this_thread::yield();
    }
    // The other sees it a moment later: how much is tried out.
    for (uint64_t wait = 0; is_last && wait < i % 64; ++wait) arrived->load();
    freed += marks.ReturnFromAfar(i * BlockMarks::kUnitBytes) ? 1 : 0;
  }
  return freed;
}

TEST_CASE("BlockMarks: of two frees of a block by others one is told that it was the first") {
  MallocBackend backend;
  backend.shm_init(MemoryBackendId(1), 1 << 20);
  const BlockMarks marks(backend.region(), 512 << 10);
  for (uint64_t i = 0; i < kMarks; ++i) {
    marks.Set(i * BlockMarks::kUnitBytes, BlockMarks::OfClass(3) | BlockMarks::kLive);
  }
  std::atomic<uint64_t> arrived{0};
  uint64_t freed_by_other = 0;
  std::thread other([&] { freed_by_other = FreeAll(marks, &arrived); });
  const uint64_t freed = FreeAll(marks, &arrived);
  other.join();
  CHECK(freed + freed_by_other == kMarks);
  CHECK(marks.Get(0) == BlockMarks::OfClass(3));
}

TEST_CASE("BlockMarks: a free of what is no user's block changes nothing") {
  MallocBackend backend;
  backend.shm_init(MemoryBackendId(1), 1 << 20);
  const BlockMarks marks(backend.region(), 512 << 10);
  const uint8_t live = BlockMarks::OfClass(0) | BlockMarks::kLive;
  marks.Clear(0, 64);
  marks.Set(32, live);
  CHECK(marks.IsLive(32));
  for (const uint64_t no_block : {0, 16, 33, 40, 48}) {
    CAPTURE(no_block);
    CHECK_FALSE(marks.IsLive(no_block));
    CHECK_FALSE(marks.Return(no_block));
    CHECK_FALSE(marks.ReturnFromAfar(no_block));
  }
  CHECK(marks.Get(32) == live);
  CHECK(marks.Return(32));
  CHECK_FALSE(marks.Return(32));
  CHECK_FALSE(marks.ReturnFromAfar(32));
}

}  // namespace
}  // namespace hshm::ipc::multi_process
