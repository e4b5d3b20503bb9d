#ifndef HSHM_UNIT_TESTS_FAULTS_FAULT_JOB_H_
#define HSHM_UNIT_TESTS_FAULTS_FAULT_JOB_H_

#include <algorithm>
#include <cstring>
#include <functional>
#include <memory>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "hermes_shm/base/error.h"
#include "hermes_shm/memory/allocator/multi_process_allocator.h"
#include "hermes_shm/memory/backend/memory_backend.h"

namespace hshm::ipc::test {

/** How the backends of a job come about. */
struct Kind {
  std::string name_;
  std::function<std::unique_ptr<MemoryBackend>()> create_;
  /** Null for memory of one process. */
  std::function<std::unique_ptr<MemoryBackend>(const std::string& url)> attach_;
  /** Null where nothing is written to a storage. */
  std::function<void(MemoryBackend*)> sync_ = nullptr;
  /** Each creation finds the segment of a dead one, and replaces it. */
  bool is_replacing_ = false;
  bool has_unnamed_files_ = true;
  /** Where its memory lies: a file system that each child mounts for itself; null: what is there.
   */
  const char* file_system_ = nullptr;
  const char* mount_options_ = "";
  /** Asks for what not every machine has, and is refused there by each creation. */
  bool may_be_refused_ = false;
  MultiProcessOptions alloc_options_ = {};
  /** Once created and attached to it is as a kind that is tried whole. */
  bool only_set_up_ = false;
  /** The numbers of the calls that are to fail; empty: all. */
  std::vector<int> only_calls_ = {};
};

/** A test that finds something wrong in a child says so by this. */
struct Violation : std::runtime_error {
  using std::runtime_error::runtime_error;
};

inline void Demand(bool holds, const std::string& what) {
  if (!holds) throw Violation(what);
}

/** A few blocks: small ones, of pages of their own, of a process unit, of the root, and a zeroed
 * one. */
class Blocks {
 public:
  /** @return whether all were had */
  bool Take(MultiProcessAllocator* alloc) {
    for (const size_t bytes : {100, 20'000, 700'000, 1'500'000}) {
      const auto block = alloc->Allocate<char>(HSHM_DEFAULT_MEM_CTX, bytes);
      if (block.IsNull()) return false;
      block.ptr_[0] = block.ptr_[bytes - 1] = 1;
      blocks_.push_back(block);
    }
    return TakeZeroed(alloc);
  }
  /** Whether the zeroed one was. */
  bool AreZero() const { return are_zero_; }
  void GiveBack(MultiProcessAllocator* alloc) {
    for (const auto& block : blocks_) alloc->Free(HSHM_DEFAULT_MEM_CTX, block);
    blocks_.clear();
    alloc->Trim();
  }

 private:
  /** Memory that was written before. */
  bool TakeZeroed(MultiProcessAllocator* alloc) {
    constexpr size_t kBytes = 200'000;
    const auto used = alloc->Allocate<char>(HSHM_DEFAULT_MEM_CTX, kBytes);
    if (used.IsNull()) return false;
    std::memset(used.ptr_, 1, kBytes);
    alloc->Free(HSHM_DEFAULT_MEM_CTX, used);
    const auto zeroed = alloc->AllocateZeroed<char>(HSHM_DEFAULT_MEM_CTX, kBytes);
    if (zeroed.IsNull()) return false;
    are_zero_ = std::all_of(zeroed.ptr_, zeroed.ptr_ + kBytes, [](char byte) { return byte == 0; });
    blocks_.push_back(zeroed);
    return true;
  }

  std::vector<FullPtr<char>> blocks_;
  bool are_zero_ = true;
};

/** A creator, a peer and a follower, taken through their lives. */
class Job {
 public:
  enum Step {
    kCreate,
    kMakeAlloc,
    kAttach,
    kJoin,
    kGrow,
    kGiveBack,
    kSync,
    kLeave,
    kDetach,
    kDestroy
  };
  static constexpr int kSteps = kDestroy + 1;

  explicit Job(const Kind& kind) : kind_(kind) {}
  ~Job() {
    if (creator_ != nullptr) creator_->shm_destroy();
  }
  Job(const Job&) = delete;
  Job& operator=(const Job&) = delete;

  bool IsShared() const { return kind_.attach_ != nullptr; }
  bool Has(int step) const {
    if (step == kSync) return kind_.sync_ != nullptr;
    return IsShared() || (step != kAttach && step != kJoin);
  }
  static bool MayThrow(int step) { return step < kGrow || step == kSync; }

  /** @throws Error of a step that MayThrow */
  void Take(int step) {
    switch (step) {
      case kCreate:
        creator_ = kind_.create_();
        return;
      case kMakeAlloc:
        made_ =
            creator_->MakeAlloc<MultiProcessAllocator>(AllocatorId(1, 0), 0, kind_.alloc_options_);
        return;
      case kAttach:
        follower_ = kind_.attach_(url_);
        return;
      case kJoin:
        joined_ = follower_->AttachAlloc<MultiProcessAllocator>(kind_.alloc_options_);
        return;
      case kGrow:
        has_grown_ = blocks_.Take(User());
        return;
      case kGiveBack:
        blocks_.GiveBack(User());
        return;
      case kSync:
        kind_.sync_(creator_.get());
        return;
      case kLeave:
        IsShared() ? follower_->DestroyAlloc(std::exchange(joined_, nullptr))
                   : creator_->DestroyAlloc(std::exchange(made_, nullptr));
        return;
      case kDetach:
        if (IsShared()) follower_->shm_detach();
        return;
      default:
        creator_->shm_destroy();
    }
  }

  void LetPeerIn() {
    url_ = creator_->GetUrl();
    peer_ = kind_.attach_(url_);
    peer_alloc_ = peer_->AttachAlloc<MultiProcessAllocator>();
  }

  bool HasZeros() const { return blocks_.AreZero(); }

  /** What must hold after a step, the fault behind it. */
  void CheckAfter(int step) {
    if (step == kGrow && !has_grown_) {
      blocks_.GiveBack(User());
      Demand(blocks_.Take(User()), "there is memory, and no blocks");
    }
    if (step == kGiveBack) {
      Demand(User()->GetCurrentlyAllocatedSize() == 0, "blocks are counted that nobody has");
      Demand(User()->Check(), "the heap is not whole");
    }
    if (peer_alloc_ != nullptr) UsePeer();
  }

  /** The peer leaves when all is over. */
  void End() {
    if (peer_ == nullptr) return;
    UsePeer();
    peer_->shm_detach();
  }

 private:
  MultiProcessAllocator* User() { return IsShared() ? joined_ : made_; }
  void UsePeer() {
    Blocks blocks;
    Demand(blocks.Take(peer_alloc_), "the peer gets no block");
    blocks.GiveBack(peer_alloc_);
    Demand(peer_alloc_->Check(), "the peer's heap is not whole");
  }

  const Kind& kind_;
  std::string url_;
  std::unique_ptr<MemoryBackend> creator_;
  std::unique_ptr<MemoryBackend> peer_;
  std::unique_ptr<MemoryBackend> follower_;
  MultiProcessAllocator* made_ = nullptr;
  MultiProcessAllocator* peer_alloc_ = nullptr;
  MultiProcessAllocator* joined_ = nullptr;
  Blocks blocks_;
  bool has_grown_ = true;
};

}  // namespace hshm::ipc::test

#endif  // HSHM_UNIT_TESTS_FAULTS_FAULT_JOB_H_
