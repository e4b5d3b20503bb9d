#include <unistd.h>

#include <cstdio>
#include <string>

#include "hermes_shm/data_structures/unordered_map.h"
#include "hermes_shm/memory/allocator/multi_process_allocator.h"
#include "hermes_shm/memory/backend/posix_shm_mmap.h"

int main() try {
  hipc::PosixShmMmap backend;
  backend.shm_init(hipc::MemoryBackendId(1), hshm::Unit<size_t>::Megabytes(64),
                   "minimal-" + std::to_string(getpid()));
  auto* heap = backend.MakeAlloc<hipc::MultiProcessAllocator>(hipc::AllocatorId(1, 0));

  hipc::unordered_map<int, int, hipc::MultiProcessAllocator> squares;
  squares.shm_init(heap);
  for (int i = 0; i < 100; ++i) squares.insert(i, i * i);
  std::printf("%zu squares in one heap, the last is %d\n", static_cast<size_t>(squares.size()),
              squares.find(99).value());
  backend.shm_destroy();  // takes the name away; without it the segment stays for others
} catch (const hshm::Error& error) {
  std::fprintf(stderr, "%s\n", error.what());
  return 1;
}
