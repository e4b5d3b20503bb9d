#ifndef HSHM_UNIT_TESTS_MISUSE_HEAP_H_
#define HSHM_UNIT_TESTS_MISUSE_HEAP_H_

#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <thread>
#include <vector>

#include "hermes_shm/memory/allocator/multi_process_allocator.h"
#include "hermes_shm/memory/allocator/thread_local_allocator.h"
#include "hermes_shm/memory/backend/posix_shm_mmap.h"
#include "misuse/misuse_case.h"

namespace hshm::misuse {

using ipc::MemContext;
using ipc::MultiProcessOptions;
using ipc::Offset;
using ipc::OffsetPtr;

inline constexpr uint64_t kRegionBytes = 64 << 20;
inline constexpr uint64_t kPageBytes = 64 << 10;

/** A heap of the policy Checked in a segment without a name. Blocks are offsets. */
template <typename Alloc>
class HeapOf {
 public:
  explicit HeapOf(uint64_t process_unit_bytes = 8 << 20) {
    ipc::PosixShmOptions shm;
    shm.naming_ = ipc::Naming::kUnnamed;
    backend_.shm_init(ipc::MemoryBackendId(1), kRegionBytes, "hshm-misuse", shm);
    MultiProcessOptions options;
    options.process_unit_bytes_ = process_unit_bytes;
    alloc_ = backend_.MakeAlloc<Alloc>(ipc::AllocatorId(1, 0), 0, options);
  }

  Alloc* operator->() { return alloc_; }
  Alloc& alloc() { return *alloc_; }

  Offset Allocate(uint64_t size_bytes) {
    return Ours(alloc_->AllocateOffset(MemContext(), size_bytes));
  }
  Offset AllocateAligned(uint64_t size_bytes, uint64_t alignment) {
    return Ours(alloc_->AlignedAllocateOffset(MemContext(), size_bytes, alignment));
  }
  Offset Reallocate(Offset block, uint64_t size_bytes) {
    return Ours(alloc_->ReallocateOffset(MemContext(), OffsetPtr<>(block), size_bytes));
  }
  void Free(Offset block) { alloc_->FreeOffset(MemContext(), OffsetPtr<>(block)); }
  char* At(Offset block) { return alloc_->GetRegion().base_ + block; }
  /** Where a freed block has its link. */
  uint64_t& Link(Offset block) { return *reinterpret_cast<uint64_t*>(At(block)); }

  /** Blocks of a size until each free one was handed out once, at most. */
  void AllocateMany(uint64_t size_bytes) {
    for (uint64_t bytes = 0; bytes < 4 * kPageBytes; bytes += size_bytes) Allocate(size_bytes);
  }

  template <typename Body>
  void InThread(Body body) {
    std::thread(body).join();
  }
  /** In a process of its own, which joins with its first call. What stops it stops this one. */
  template <typename Body>
  void InProcess(Body body) {
    AwaitProcess(StartProcess(body));
  }
  template <typename Body>
  pid_t StartProcess(Body body) {
    const pid_t child = fork();
    if (child == 0) {
      body();
      _exit(0);
    }
    return child;
  }
  void AwaitProcess(pid_t child) {
    if (WTERMSIG(Status(child)) == SIGABRT) Stop();
  }
  int Status(pid_t child) {
    int status = 0;
    if (waitpid(child, &status, 0) != child) _exit(3);
    return status;
  }
  [[noreturn]] void Stop() {
    signal(SIGABRT, SIG_DFL);
    std::abort();
  }

  /** A block of a process that died with it; this one has adopted it. */
  Offset AllocateInDeadProcess(uint64_t size_bytes) {
    int ends[2];
    if (pipe(ends) != 0) _exit(3);
    const pid_t child = StartProcess([&] {
      const Offset block = Allocate(size_bytes);
      if (write(ends[1], &block, sizeof(block)) != sizeof(block)) _exit(3);
      raise(SIGKILL);
    });
    Offset block = 0;
    if (read(ends[0], &block, sizeof(block)) != sizeof(block)) _exit(3);
    Status(child);
    if (alloc_->Recover() != 1) _exit(3);
    return block;
  }

 private:
  Offset Ours(OffsetPtr<> block) {
    if (block.IsNull()) _exit(3);
    return block.load();
  }

  ipc::PosixShmMmap backend_;
  Alloc* alloc_;
};

using Heap = HeapOf<ipc::CheckedMultiProcessAllocator>;

}  // namespace hshm::misuse

#endif  // HSHM_UNIT_TESTS_MISUSE_HEAP_H_
