/** The set-up pattern of the allocator guide: rank 0 creates through the manager, the others
 * attach. */
#include "hermes_shm/memory/memory_manager.h"

#include "hermes_shm/memory/allocator/buddy_allocator.h"
#include "hermes_shm/memory/allocator/multi_process_allocator.h"
#include "hermes_shm/memory/allocator/stack_allocator.h"
#include "hermes_shm/memory/backend/posix_shm_mmap.h"
#include "hermes_shm/sync/atomic.h"
#include "support.h"

namespace {

using hshm::ipc::AllocatorId;
using hshm::ipc::MemoryBackendId;
using hshm::ipc::MemoryBackendType;
using namespace mpi_test;

constexpr int kMagic = 0x5eed;

struct AllocatorHeader {
  int magic_number_;                       // [init]
  uint64_t leader_block_;                  // [init] offset of a block with tag 0
  hshm::Atomic<uint64_t> attached_ranks_;  // [any]
};

template <typename AllocatorT>
void CreateOnRank0(MemoryBackendId backend_id, AllocatorId alloc_id, const std::string& url) {
  auto* manager = HSHM_MEMORY_MANAGER;
  manager->CreateBackend<hipc::PosixShmMmap>(backend_id, hshm::Unit<size_t>::Megabytes(64), url);
  manager->CreateAllocator<AllocatorT>(backend_id, alloc_id, sizeof(AllocatorHeader));
  auto* allocator = manager->GetAllocator<AllocatorT>(alloc_id);
  MPI_CHECK(allocator != nullptr);
  auto* header = allocator->template GetCustomHeader<AllocatorHeader>();
  MPI_CHECK(header->magic_number_ == 0);
  const auto block = allocator->Allocate(HSHM_DEFAULT_MEM_CTX, 1000);
  MPI_CHECK(!block.IsNull());
  Fill(block.ptr_, 1000, 0);
  header->leader_block_ = block.shm_.off_.load();
  header->magic_number_ = kMagic;
}

/** Every rank's part once it has the allocator. */
template <typename AllocatorT>
void UseTogether(const World& world, AllocatorId alloc_id) {
  auto* allocator = HSHM_MEMORY_MANAGER->GetAllocator<AllocatorT>(alloc_id);
  MPI_CHECK(allocator != nullptr);
  auto* header = allocator->template GetCustomHeader<AllocatorHeader>();
  MPI_CHECK(header->magic_number_ == kMagic);
  const hshm::ipc::OffsetPtr<char> leader_block(header->leader_block_);
  MPI_CHECK(Verify(allocator->Convert(leader_block), 1000, 0));

  const auto own = allocator->Allocate(HSHM_DEFAULT_MEM_CTX, 5000);
  MPI_CHECK(!own.IsNull());
  Fill(own.ptr_, 5000, world.rank());
  header->attached_ranks_.fetch_add(1);
  world.Barrier();
  MPI_CHECK(header->attached_ranks_.load() == static_cast<uint64_t>(world.size()));
  MPI_CHECK(Verify(own.ptr_, 5000, world.rank()));
  allocator->Free(HSHM_DEFAULT_MEM_CTX, own);
  world.Barrier();
  if (world.rank() == world.size() - 1) allocator->Free(HSHM_DEFAULT_MEM_CTX, leader_block);
  world.Barrier();
}

template <typename AllocatorT>
void TestPattern(const World& world, const Segments& segments) {
  auto* manager = HSHM_MEMORY_MANAGER;
  const std::string url = segments.Name("manager");
  const MemoryBackendId backend_id = MemoryBackendId::Get(0);
  const AllocatorId alloc_id(1, 0);
  manager->UnregisterAllocator(alloc_id);  // both are no-ops: nothing is there
  manager->DestroyBackend(backend_id);

  if (world.rank() == 0) CreateOnRank0<AllocatorT>(backend_id, alloc_id, url);
  world.Barrier();
  if (world.rank() != 0) manager->AttachBackend(MemoryBackendType::kPosixShmMmap, url);
  UseTogether<AllocatorT>(world, alloc_id);
  MPI_CHECK(segments.Count() == 1);
  world.Barrier();

  manager->UnregisterAllocator(alloc_id);
  manager->DestroyBackend(backend_id);
  MPI_CHECK(manager->GetAllocator<AllocatorT>(alloc_id) == nullptr);
  world.Barrier();
  MPI_CHECK(segments.Count() == 0);
  world.Barrier();
}

}  // namespace

int main(int argc, char** argv) {
  const World world(&argc, &argv);
  const Segments segments;
  TestPattern<hshm::ipc::StackAllocator>(world, segments);
  TestPattern<hshm::ipc::BuddyAllocator>(world, segments);
  TestPattern<hshm::ipc::MultiProcessAllocator>(world, segments);
  TestPattern<hshm::ipc::MultiProcessAllocator>(world, segments);  // once more in the same process
  Done(world, "manager_pattern");
}
