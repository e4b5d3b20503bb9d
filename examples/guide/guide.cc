/**
 * The programs of the allocator guide as they stand there, and a main that runs them: the
 * single-process example on rank 0, then the set-up pattern for MPI with two allocators.
 */
// From here to the end of the programs every line is the guide's own.
// clang-format off
#include "hermes_shm/memory/memory_manager.h"
#include "hermes_shm/memory/allocator/stack_allocator.h"
#include "hermes_shm/memory/backend/posix_shm_mmap.h"

void basic_allocator_setup_example() {
    // Get the memory manager singleton
    auto* mem_mngr = HSHM_MEMORY_MANAGER;

    // Define IDs
    hshm::ipc::MemoryBackendId backend_id = hipc::MemoryBackendId::Get(0);
    hshm::ipc::AllocatorId alloc_id(1, 0);  // major=1, minor=0

    // Step 1: Create a memory backend
    std::string shm_url = "my_shared_memory";
    size_t backend_size = hshm::Unit<size_t>::Gigabytes(1);

    mem_mngr->CreateBackend<hipc::PosixShmMmap>(
        backend_id, backend_size, shm_url);

    printf("Created backend with ID %u, size %zu GB\n",
           backend_id.id_, backend_size / (1024*1024*1024));

    // Step 2: Create an allocator on the backend
    size_t custom_header_size = sizeof(int);  // Space for custom metadata
    mem_mngr->CreateAllocator<hipc::StackAllocator>(
        backend_id, alloc_id, custom_header_size);

    // Step 3: Get the allocator for use
    auto* allocator = mem_mngr->GetAllocator<hipc::StackAllocator>(alloc_id);
    if (allocator) {
        printf("✓ Stack allocator created successfully\n");

        // Initialize custom header
        auto* custom_header = allocator->template GetCustomHeader<int>();
        *custom_header = 0x12345678;  // Custom metadata

        // Use the allocator
        auto full_ptr = allocator->Allocate(HSHM_DEFAULT_MEM_CTX, 1024);
        printf("Allocated %zu bytes at offset %zu\n",
               size_t(1024), full_ptr.shm_.off_.load());

        // Free the memory
        allocator->Free(HSHM_DEFAULT_MEM_CTX, full_ptr);

        // Verify custom header persisted
        printf("Custom header: 0x%08X\n", *custom_header);
    }

    // Step 4: Cleanup (usually done at program exit)
    mem_mngr->UnregisterAllocator(alloc_id);
    mem_mngr->DestroyBackend(backend_id);

    printf("Cleanup completed\n");
}

#include <mpi.h>

template<typename AllocatorT>
void SetupMpiAllocatorRank0() {
    // This runs only on MPI rank 0 (leader process)
    int rank;
    MPI_Comm_rank(MPI_COMM_WORLD, &rank);
    if (rank != 0) return;

    printf("Rank 0: Setting up shared memory backend and allocator\\n");

    auto* mem_mngr = HSHM_MEMORY_MANAGER;
    std::string shm_url = "mpi_shared_allocator";
    hshm::ipc::MemoryBackendId backend_id = hipc::MemoryBackendId::Get(0);
    hshm::ipc::AllocatorId alloc_id(1, 0);

    // Clean up any existing resources
    mem_mngr->UnregisterAllocator(alloc_id);
    mem_mngr->DestroyBackend(backend_id);

    // Create shared memory backend
    mem_mngr->CreateBackend<hipc::PosixShmMmap>(
        backend_id, hshm::Unit<size_t>::Gigabytes(1), shm_url);

    // Create allocator with custom header space
    struct AllocatorHeader {
        int magic_number;
        size_t total_allocations;
        size_t peak_usage;
    };

    mem_mngr->CreateAllocator<AllocatorT>(
        backend_id, alloc_id, sizeof(AllocatorHeader));

    auto* allocator = mem_mngr->GetAllocator<AllocatorT>(alloc_id);
    if (allocator) {
        // Initialize shared header
        auto* header = allocator->template GetCustomHeader<AllocatorHeader>();
        header->magic_number = 0xDEADBEEF;
        header->total_allocations = 0;
        header->peak_usage = 0;

        printf("Rank 0: ✓ Created %s with shared header\\n",
               typeid(AllocatorT).name());
    }
}

template<typename AllocatorT>
void SetupMpiAllocatorRankN() {
    // This runs on all MPI ranks except 0 (follower processes)
    int rank;
    MPI_Comm_rank(MPI_COMM_WORLD, &rank);
    if (rank == 0) return;

    printf("Rank %d: Attaching to shared memory backend\\n", rank);

    auto* mem_mngr = HSHM_MEMORY_MANAGER;
    std::string shm_url = "mpi_shared_allocator";
    hshm::ipc::MemoryBackendId backend_id = hipc::MemoryBackendId::Get(0);
    hshm::ipc::AllocatorId alloc_id(1, 0);

    // Clean up any existing local state
    mem_mngr->UnregisterAllocator(alloc_id);
    mem_mngr->DestroyBackend(backend_id);

    // Attach to existing shared memory (created by rank 0)
    mem_mngr->AttachBackend(hshm::ipc::MemoryBackendType::kPosixShmMmap, shm_url);

    // Get the allocator (already created by rank 0)
    auto* allocator = mem_mngr->GetAllocator<AllocatorT>(alloc_id);
    if (allocator) {
        struct AllocatorHeader {
            int magic_number;
            size_t total_allocations;
            size_t peak_usage;
        };

        // Verify we can access shared header
        auto* header = allocator->template GetCustomHeader<AllocatorHeader>();
        if (header->magic_number == 0xDEADBEEF) {
            printf("Rank %d: ✓ Successfully attached to shared allocator\\n", rank);
        } else {
            printf("Rank %d: ✗ Shared header validation failed\\n", rank);
        }
    } else {
        printf("Rank %d: ✗ Failed to get allocator after attach\\n", rank);
    }
}
// clang-format on

#include "hermes_shm/memory/allocator/multi_process_allocator.h"

namespace {

const hipc::MemoryBackendId kBackendId = hipc::MemoryBackendId::Get(0);
const hipc::AllocatorId kAllocId(1, 0);

/** What this rank adds to the count of ranks that have the shared allocator and its header. */
template <typename AllocatorT>
int HasSharedHeader() {
  auto* allocator = HSHM_MEMORY_MANAGER->GetAllocator<AllocatorT>(kAllocId);
  if (allocator == nullptr) return 0;
  return static_cast<unsigned>(*allocator->template GetCustomHeader<int>()) == 0xDEADBEEF ? 1 : 0;
}

/** The guide's pattern with its barriers. @return whether every rank shared one allocator */
template <typename AllocatorT>
bool RunMpiPattern(int rank) {
  SetupMpiAllocatorRank0<AllocatorT>();
  MPI_Barrier(MPI_COMM_WORLD);  // nobody attaches before the leader has created
  SetupMpiAllocatorRankN<AllocatorT>();
  const int mine = HasSharedHeader<AllocatorT>();
  int all = 0;
  int ranks = 0;
  MPI_Allreduce(&mine, &all, 1, MPI_INT, MPI_SUM, MPI_COMM_WORLD);
  MPI_Comm_size(MPI_COMM_WORLD, &ranks);
  HSHM_MEMORY_MANAGER->UnregisterAllocator(kAllocId);
  HSHM_MEMORY_MANAGER->DestroyBackend(kBackendId);  // the leader's also takes the name away
  if (rank == 0) std::printf("\nguide: %d of %d ranks share the allocator\n", all, ranks);
  MPI_Barrier(MPI_COMM_WORLD);
  return all == ranks;
}

}  // namespace

int main(int argc, char** argv) {
  MPI_Init(&argc, &argv);
  int rank = 0;
  MPI_Comm_rank(MPI_COMM_WORLD, &rank);
  bool is_good = false;
  try {
    if (rank == 0) basic_allocator_setup_example();
    MPI_Barrier(MPI_COMM_WORLD);
    is_good = RunMpiPattern<hipc::StackAllocator>(rank);
    is_good = RunMpiPattern<hipc::MultiProcessAllocator>(rank) && is_good;
  } catch (const hshm::Error& error) {
    std::fprintf(stderr, "guide: rank %d: %s\n", rank, error.what());
    MPI_Abort(MPI_COMM_WORLD, 1);
  }
  MPI_Finalize();
  return is_good ? 0 : 1;
}
