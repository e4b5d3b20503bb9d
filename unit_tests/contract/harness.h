#ifndef HSHM_UNIT_TESTS_CONTRACT_HARNESS_H_
#define HSHM_UNIT_TESTS_CONTRACT_HARNESS_H_

#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <cstdlib>
#include <cstring>
#include <map>
#include <memory>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "hermes_shm/intrusive/offset_ptr.h"
#include "hermes_shm/memory/backend/array_backend.h"
#include "hermes_shm/memory/backend/malloc_backend.h"
#include "hermes_shm/memory/backend/posix_mmap.h"
#include "hermes_shm/memory/backend/posix_shm_mmap.h"
#include "support/catch.h"

/** What the contract suites share: backends, pattern bytes, a shadow of the heap, children. */
namespace contract {

using hshm::ipc::AllocatorId;
using hshm::ipc::FullPtr;
using hshm::ipc::MemContext;
using hshm::ipc::MemoryBackendId;
using hshm::ipc::Offset;
using hshm::ipc::OffsetPtr;

inline const MemContext kCtx = HSHM_DEFAULT_MEM_CTX;

/** What an allocator's page may say otherwise. A suite's Traits derive from this. */
struct Defaults {
  static constexpr uint64_t kRegionBytes = 4 << 20;
  /** Room freed anywhere can be had again at once; else only when everything is free. */
  static constexpr bool kReusesEveryBlock = true;
  /** Double frees and interior pointers are found at the call. */
  static constexpr bool kFindsMisuse = true;
  /** GetCurrentlyAllocatedSize falls back to its first value when everything is free. */
  static constexpr bool kStatsReturn = true;
  /** Children that are killed in their calls. */
  static constexpr int kKills = 50;
  /** Share of the region, in percent, that blocks of 1000 bytes get before null. */
  static constexpr uint64_t kLeastUsablePercent = 60;
  /** The blocks lie in the region, so its size is the limit and offsets are aligned. */
  static constexpr bool kBlocksLieInRegion = true;
  /** Backends that the allocator works on: TestBackend's kinds. */
  static bool WorksOn(int /*kind*/) { return true; }
};

/** One region of one kind; a shared segment gets a name of this process and goes at the end. */
class TestBackend {
 public:
  enum Kind { kArray, kMalloc, kPrivate, kShm, kFile, kUnnamed, kKinds };

  TestBackend(int kind, uint64_t size_bytes) : name_(NewName()) {
    const MemoryBackendId id(1);
    if (kind == kArray) {
      array_.reset(static_cast<char*>(std::aligned_alloc(4096, size_bytes)));
      auto backend = std::make_unique<hshm::ipc::ArrayBackend>();
      backend->shm_init(id, size_bytes, array_.get());
      backend_ = std::move(backend);
    } else if (kind == kMalloc) {
      auto backend = std::make_unique<hshm::ipc::MallocBackend>();
      backend->shm_init(id, size_bytes);
      backend_ = std::move(backend);
    } else if (kind == kPrivate) {
      auto backend = std::make_unique<hshm::ipc::PosixMmap>();
      backend->shm_init(id, size_bytes);
      backend_ = std::move(backend);
    } else if (kind == kFile) {
      // Grows from its first commit on, in a file of the file system that tests may fill.
      auto backend = std::make_unique<hshm::ipc::PosixMmap>();
      backend->shm_init(id, size_bytes / 2, "/dev/shm/" + name_, {.max_size_bytes_ = size_bytes});
      backend_ = std::move(backend);
    } else {
      auto backend = std::make_unique<hshm::ipc::PosixShmMmap>();
      const bool is_named = kind != kUnnamed;
      backend->shm_init(
          id, size_bytes, name_,
          {.naming_ = is_named ? hshm::ipc::Naming::kNamed : hshm::ipc::Naming::kUnnamed});
      backend_ = std::move(backend);
    }
  }
  ~TestBackend() { backend_->shm_destroy(); }
  TestBackend(const TestBackend&) = delete;
  TestBackend& operator=(const TestBackend&) = delete;

  hshm::ipc::MemoryBackend* operator->() { return backend_.get(); }
  const std::string& name() const { return name_; }

  static const char* KindName(int kind) {
    constexpr const char* kNames[] = {"ArrayBackend", "MallocBackend",     "private PosixMmap",
                                      "PosixShmMmap", "growing PosixMmap", "unnamed PosixShmMmap"};
    return kNames[kind];
  }
  /** Another process can have the same memory. */
  static bool IsShared(int kind) { return kind >= kShm; }

 private:
  static std::string NewName() {
    static int count = 0;
    return "hshm-contract-" + std::to_string(getpid()) + "-" + std::to_string(++count);
  }
  struct FreeArray {
    void operator()(char* array) const { std::free(array); }
  };

  std::string name_;
  std::unique_ptr<char, FreeArray> array_;
  std::unique_ptr<hshm::ipc::MemoryBackend> backend_;
};

/** An allocator of the suite's class in a region of its own. */
template <typename AllocT, typename Traits>
struct Fixture {
  explicit Fixture(int kind)
      : backend_(kind, Traits::kRegionBytes),
        alloc_(backend_->template MakeAlloc<AllocT>(AllocatorId(7, 0), 256)),
        first_bytes_(alloc_->GetCurrentlyAllocatedSize()) {}

  /** Everything the test allocated is free again, and the allocator is in order. */
  void RequireAsNew() {
    REQUIRE(alloc_->Check());
    if (Traits::kStatsReturn) REQUIRE(alloc_->GetCurrentlyAllocatedSize() == first_bytes_);
  }

  TestBackend backend_;
  AllocT* alloc_;
  size_t first_bytes_;
};

// ---- pattern bytes
// -------------------------------------------------------------------------------

/** Marks a block as its owner's: at both ends, and every 509 bytes between. */
inline void FillPattern(char* block, size_t size, uint32_t owner) {
  for (size_t i = 0; i < size; i += (i < 64 || i + 64 >= size) ? 1 : 509) {
    block[i] = static_cast<char>(owner * 31 + i);
  }
}
/** True when the first `kept` bytes are as FillPattern(size, owner) left them. */
inline bool HasPattern(const char* block, size_t size, size_t kept, uint32_t owner) {
  for (size_t i = 0; i < size; i += (i < 64 || i + 64 >= size) ? 1 : 509) {
    if (i < kept && block[i] != static_cast<char>(owner * 31 + i)) return false;
  }
  return true;
}

// ---- a shadow of the heap
// ------------------------------------------------------------------------

struct Block {
  size_t size_;
  uint32_t owner_;
};

/** What is allocated, by offset; finds overlapping blocks. */
class Shadow {
 public:
  /** False when the block overlaps a living one. */
  bool Add(Offset offset, Block block) {
    const auto next = blocks_.lower_bound(offset);
    if (next != blocks_.end() && next->first < offset + block.size_) return false;
    if (next != blocks_.begin()) {
      const auto before = std::prev(next);
      if (before->first + before->second.size_ > offset) return false;
    }
    return blocks_.emplace(offset, block).second;
  }
  void Remove(Offset offset) { blocks_.erase(offset); }
  size_t size() const { return blocks_.size(); }
  std::map<Offset, Block>::const_iterator At(size_t index) const {
    return std::next(blocks_.begin(), static_cast<ptrdiff_t>(index));
  }

 private:
  std::map<Offset, Block> blocks_;
};

// ---- children
// ------------------------------------------------------------------------------------

struct ChildResult {
  int status_;
  std::string stderr_;
  bool Aborted() const { return WIFSIGNALED(status_) && WTERMSIG(status_) == SIGABRT; }
};

/** Runs the action in a forked child, which exits with 0 when the action returns. */
template <typename Action>
ChildResult InForkedChild(Action action) {
  int ends[2];
  REQUIRE(pipe(ends) == 0);
  const pid_t child = fork();
  REQUIRE(child >= 0);
  if (child == 0) {
    std::signal(SIGABRT, SIG_DFL);
    const rlimit no_core{0, 0};
    setrlimit(RLIMIT_CORE, &no_core);
    dup2(ends[1], STDERR_FILENO);
    action();
    _exit(0);
  }
  close(ends[1]);
  ChildResult result{};
  char buffer[512];
  for (ssize_t n; (n = read(ends[0], buffer, sizeof(buffer))) > 0;) {
    result.stderr_.append(buffer, static_cast<size_t>(n));
  }
  close(ends[0]);
  REQUIRE(waitpid(child, &result.status_, 0) == child);
  return result;
}

/** Executes this test program again for one (hidden) test case; the segment's name goes along. */
inline int ExecTestCase(const std::string& test_case, const std::string& segment) {
  const pid_t child = fork();
  REQUIRE(child >= 0);
  if (child == 0) {
    setenv("HSHM_CONTRACT_SEGMENT", segment.c_str(), 1);
    execl("/proc/self/exe", "contract child", test_case.c_str(), static_cast<char*>(nullptr));
    _exit(127);
  }
  int status = -1;
  REQUIRE(waitpid(child, &status, 0) == child);
  return status;
}

}  // namespace contract

#endif  // HSHM_UNIT_TESTS_CONTRACT_HARNESS_H_
