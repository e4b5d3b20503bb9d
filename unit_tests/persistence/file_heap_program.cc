#include <unistd.h>

#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <string>

#include "hermes_shm/base/error.h"
#include "hermes_shm/data_structures/unordered_map.h"
#include "hermes_shm/memory/allocator/multi_process_allocator.h"
#include "hermes_shm/memory/backend/posix_mmap.h"

/**
 * file_heap_program PATH create|write|read FROM TO: a map in a heap in a file. `write` inserts the
 * keys from FROM to TO, says each to standard output when it is in, and then waits to be killed;
 * `read` exits with 0 when exactly these are there with their values, and the heap is whole.
 */
namespace {

using namespace hshm::ipc;  // NOLINT: a program of one file
using Map = unordered_map<uint64_t, uint64_t, MultiProcessAllocator>;

uint64_t ValueOf(uint64_t key) { return key * 0x9e3779b97f4a7c15 + 1; }

int Create(const std::string& path) {
  PosixMmap backend;
  backend.shm_init(MemoryBackendId(77), 1 << 20, path, {.max_size_bytes_ = 256 << 20});
  auto* alloc = backend.MakeAlloc<MultiProcessAllocator>(AllocatorId(3, 4));
  Map map;
  map.shm_init(alloc);
  return alloc->SetRoot("map", map.offset()) ? 0 : 3;
}

int Write(Map* map, uint64_t from, uint64_t to) {
  for (uint64_t key = from; key < to; ++key) {
    const MapResult result = map->insert(key, ValueOf(key));
    // The writer before may have been killed between inserting this one and saying so.
    const bool is_left_over = key == from && result == MapResult::kFound;
    if (result != MapResult::kInserted && !is_left_over) return 4;
    if (write(STDOUT_FILENO, &key, sizeof(key)) != sizeof(key)) return 5;
  }
  for (;;) pause();
}

int Read(Map* map, MultiProcessAllocator* alloc, uint64_t from, uint64_t to) {
  for (uint64_t key = from; key < to; ++key) {
    if (map->find(key) != ValueOf(key)) return 6;
  }
  // The insertion that was cut may have happened or not.
  const bool has_next = map->contains(to);
  if (map->size() != to - from + (has_next ? 1 : 0)) return 7;
  return alloc->Check() ? 0 : 8;
}

int Run(char** argv) {
  const std::string what = argv[2];
  if (what == "create") return Create(argv[1]);
  PosixMmap backend;
  backend.shm_attach(argv[1]);
  auto* alloc = backend.AttachAlloc<MultiProcessAllocator>();
  Map map;
  map.shm_attach(alloc, OffsetPtr<>(alloc->FindRoot<char>("map").shm_.off_.load()));
  const uint64_t from = std::strtoull(argv[3], nullptr, 10);
  const uint64_t to = std::strtoull(argv[4], nullptr, 10);
  return what == "write" ? Write(&map, from, to) : Read(&map, alloc, from, to);
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 5) return 2;
  try {
    return Run(argv);
  } catch (const hshm::Error& error) {
    return 100 + static_cast<int>(error.code());
  }
}
