#include <cstdlib>

#include "data_structures/containers.h"
#include "hermes_shm/memory/allocator/multi_process_allocator.h"
#include "hermes_shm/memory/backend/posix_shm_mmap.h"

/** containers_worker URL ADDRESS: maps the segment elsewhere than at ADDRESS, reads and changes
 * what lies in it; exits 0 when all of it was there. */
int main(int argc, char** argv) {
  using Alloc = hshm::ipc::MultiProcessAllocator;
  if (argc != 3) return 100;
  hshm::ipc::PosixShmMmap backend;
  char* const elsewhere = reinterpret_cast<char*>(uintptr_t{0x100000000000});
  backend.shm_attach(argv[1], {.address_hint_ = elsewhere});
  auto* const alloc = backend.AttachAlloc<Alloc>();
  const auto parents_base = std::strtoull(argv[2], nullptr, 16);
  if (reinterpret_cast<uintptr_t>(alloc->GetRegion().base_) == parents_base) return 101;
  hshm::test::Containers<Alloc> containers;
  containers.Attach(alloc);
  if (!containers.IsFilled()) return 1;
  return containers.Change() ? 0 : 2;
}
