#include <cstdio>
#include <cstdlib>

#include "hermes_shm/memory/backend/posix_shm_mmap.h"
#include "stl/rows.h"

/**
 * stl_worker URL ADDRESS: maps the segment elsewhere than at ADDRESS, reads and changes each
 * container in it. Exits with the number of rows that were not as they should be.
 */
int main(int argc, char** argv) {
  using Alloc = hshm::ipc::MultiProcessAllocator;
  if (argc != 3) return 100;
  hshm::ipc::PosixShmMmap backend;
  char* const elsewhere = reinterpret_cast<char*>(uintptr_t{0x100000000000});
  backend.shm_attach(argv[1], {.address_hint_ = elsewhere});
  Alloc* const alloc = backend.AttachAlloc<Alloc>();
  const auto parents_base = std::strtoull(argv[2], nullptr, 16);
  if (reinterpret_cast<uintptr_t>(alloc->GetRegion().base_) == parents_base) return 101;
  int wrong = 0;
  hshm::test::Rows<Alloc>::ForEach([&]<typename Container>(const char* name) {
    Container* const container = alloc->FindRoot<Container>(name).ptr_;
    const bool is_right =
        container != nullptr && hshm::test::Contents<Container>::IsFilled(*container);
    if (is_right) hshm::test::Contents<Container>::Change(*container);
    if (!is_right) std::fprintf(stderr, "stl_worker: %s is wrong\n", name);
    wrong += is_right ? 0 : 1;
  });
  return wrong;
}
