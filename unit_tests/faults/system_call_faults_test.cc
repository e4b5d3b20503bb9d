/**
 * Each system call that setting up, growing, giving back and leaving a heap makes fails once, with
 * each error of its manual page. What comes of it is an Error, null, or nothing at all, and never
 * something half-made: the process holds what it held before, the same step taken again succeeds,
 * and the peer in the same segment goes on.
 *
 * Which calls there are is not written down here: the supervisor sees all of them, those of the C++
 * and the C library too. A call that is not in the table of system_calls.cc fails the test.
 */
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstring>
#include <functional>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "faults/fault_supervisor.h"
#include "faults/process_state.h"
#include "faults/system_calls.h"
#include "hermes_shm/base/units.h"
#include "hermes_shm/memory/allocator/multi_process_allocator.h"
#include "hermes_shm/memory/backend/posix_mmap.h"
#include "hermes_shm/memory/backend/posix_shm_mmap.h"
#include "support/catch.h"
#include "support/full_run.h"
#include "support/own_directory.h"
#include "support/seed.h"

namespace hshm::ipc::test {
namespace {

using hshm::test::FaultPlan;
using hshm::test::ProcessState;
using hshm::test::SeenCall;
using hshm::test::SegmentDirectory;

constexpr size_t kBytes = 16 << 20;
constexpr int kMaxSameCalls = 2;  // of a run of the same call, as when all slots are asked for

/** How the backends of a job come about. */
struct Kind {
  const char* name_;
  std::function<std::unique_ptr<MemoryBackend>()> create_;
  /** Null for memory of one process. */
  std::function<std::unique_ptr<MemoryBackend>(const std::string& url)> attach_;
  /** Null where nothing is written to a storage. */
  std::function<void(MemoryBackend*)> sync_ = nullptr;
  /** Each creation finds the segment of a dead one, and replaces it. */
  bool is_replacing_ = false;
  bool has_unnamed_files_ = true;
};

/** A test that finds something wrong in a child says so by this. */
struct Violation : std::runtime_error {
  using std::runtime_error::runtime_error;
};

void Demand(bool holds, const std::string& what) {
  if (!holds) throw Violation(what);
}

/** A few blocks: small ones, of pages of their own, of a process unit, of the root. */
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
    return true;
  }
  void GiveBack(MultiProcessAllocator* alloc) {
    for (const auto& block : blocks_) alloc->Free(HSHM_DEFAULT_MEM_CTX, block);
    blocks_.clear();
    alloc->Trim();
  }

 private:
  std::vector<FullPtr<char>> blocks_;
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
        made_ = creator_->MakeAlloc<MultiProcessAllocator>(AllocatorId(1, 0));
        return;
      case kAttach:
        follower_ = kind_.attach_(url_);
        return;
      case kJoin:
        joined_ = follower_->AttachAlloc<MultiProcessAllocator>();
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

/** A fault: in which step of a job, which of its calls, which error. */
struct Trial {
  int step_ = 0;
  uint32_t nth_ = 0;
  int os_errno_ = 0;
};

std::string NameOf(const SeenCall& call) {
  const auto* const info = hshm::test::FindSystemCall(call.number_);
  return info == nullptr ? "system call " + std::to_string(call.number_) : info->name_;
}

bool IsUnlink(const SeenCall& call) {
  return NameOf(call) == "unlink" || NameOf(call) == "unlinkat";
}

/** Whether an error has the errno, or what byte_lock.h and docs/errors.md say instead: a lack of
 * room is told in bytes, a name in /proc that is not there is a missing /proc, and what is taken is
 * that alone of a lock that another seems to hold. */
bool TellsCause(const Error& error, const SeenCall& call, int os_errno) {
  if (error.os_errno() == os_errno || error.code() == ErrorCode::kNoSpace) return true;
  // Nobody is called dead without proof.
  if (call.number_ == SYS_fcntl && error.code() == ErrorCode::kAlreadyExists) return true;
  if (os_errno == ENOENT) return error.os_errno() == ENOSYS;
  if (os_errno == EINVAL) return error.code() == ErrorCode::kNotASegment;  // has no seals
  if (os_errno != EAGAIN && os_errno != EACCES) return false;
  if (call.number_ != SYS_fcntl) return error.os_errno() == EBUSY || error.os_errno() == ENOMEM;
  return error.os_errno() == EAGAIN || error.code() == ErrorCode::kNotReady;
}

/** What the system refused to take back is the system's fault: it is handed over once more, and the
 * rest compared. */
void FinishRefused(const SeenCall& call) {
  const auto& arguments = call.arguments_;
  if (call.number_ == SYS_close || call.number_ == SYS_munmap) {
    syscall(call.number_, arguments[0], arguments[1]);
  }
}

/** One job with one fault. @throws Violation */
void Try(FaultPlan* plan, const Kind& kind, const std::string& directory,
         const ProcessState& at_first, const Trial& trial) {
  bool is_name_left = false;
  bool is_heap_stuck = false;
  {
    Job job(kind);
    for (int step = 0; step < Job::kSteps; ++step) {
      if (!job.Has(step)) continue;
      if (step != trial.step_) {
        job.Take(step);
        if (step == Job::kMakeAlloc && job.IsShared()) job.LetPeerIn();
        continue;
      }
      if (kind.is_replacing_ && step == Job::kCreate) kind.create_()->shm_detach();
      ProcessState before = ProcessState::Now(directory);
      std::string error;
      try {
        plan->Watch(trial.nth_, trial.os_errno_, [&] { job.Take(step); });
      } catch (const Error& thrown) {
        error = thrown.what();
        Demand(plan->HasFailed(), "an error without a fault: " + error);
        Demand(TellsCause(thrown, plan->FailedCall(), trial.os_errno_),
               "the error hides its cause: " + error);
      } catch (const std::bad_alloc&) {
        error = "std::bad_alloc";
      }
      const SeenCall failed = plan->FailedCall();
      if (plan->HasFailed()) {
        FinishRefused(failed);
        is_heap_stuck = failed.number_ == SYS_brk;  // malloc goes on in mappings of its own
        is_name_left = step == Job::kDestroy || IsUnlink(failed);
      }
      if (!error.empty()) {
        Demand(Job::MayThrow(step), "a step that throws nothing has thrown: " + error);
        const ProcessState after = ProcessState::Now(directory);
        // The dead segment goes first: its memory may be what the new one needs.
        if (kind.is_replacing_ && after.files_.empty()) before.files_.clear();
        const std::string left = before.DifferenceTo(after);
        Demand(left.empty() || is_heap_stuck, "after \"" + error + "\":" + left);
        job.Take(step);
      }
      if (step == Job::kMakeAlloc && job.IsShared()) job.LetPeerIn();
      job.CheckAfter(step);
    }
    job.End();
  }
  // The names of dead segments, hidden ones too, are no obstacle, and go with the next creation.
  if (is_name_left) kind.create_()->shm_destroy();
  const std::string left = at_first.DifferenceTo(ProcessState::Now(directory));
  Demand(left.empty() || is_heap_stuck, "at the end:" + left);
}

void LiveOnce(const Kind& kind) {
  Job job(kind);
  for (int step = 0; step < Job::kSteps; ++step) {
    if (job.Has(step)) job.Take(step);
    if (step == Job::kMakeAlloc && job.IsShared()) job.LetPeerIn();
  }
  job.End();
}

/** The faults of a step: each of its calls with each error, but for long runs of the same call. */
void AddTrials(const FaultPlan& plan, int step, std::vector<Trial>* trials) {
  Demand(plan.call_count() <= FaultPlan::kMaxCalls, "too many calls for the plan");
  int same = 0;
  for (uint32_t index = 0; index < plan.call_count(); ++index) {
    const SeenCall& call = plan.call(index);
    const auto* const info = hshm::test::FindSystemCall(call.number_);
    Demand(info != nullptr, NameOf(call) + " is not in the table of system_calls.cc");
    const bool is_same = index > 0 && plan.call(index - 1).number_ == call.number_ &&
                         plan.call(index - 1).arguments_[1] == call.arguments_[1];
    same = is_same ? same + 1 : 1;
    if (same > kMaxSameCalls) continue;
    for (const int os_errno : info->errors_) trials->push_back({step, index + 1, os_errno});
  }
}

/** In the child: finds the calls of each step, then tries them in an order that the seed says. */
void TryAll(FaultPlan* plan, const Kind& kind, const std::string& directory, uint64_t seed,
            size_t most) {
  hshm::test::KeepMallocOutOfMappings();
  if (!kind.has_unnamed_files_) plan->ForbidUnnamedFiles();
  std::vector<Trial> trials;
  plan->Note(std::string(kind.name_) + ", no fault");
  LiveOnce(kind);  // what is made once in a process is there from now on
  ProcessState at_first = ProcessState::Now(directory);
  for (int step = 0; step < Job::kSteps; ++step) {
    Try(plan, kind, directory, at_first, {step, 0, 0});
    AddTrials(*plan, step, &trials);
  }
  const size_t all = trials.size();
  std::shuffle(trials.begin(), trials.end(), std::mt19937_64(seed));
  if (trials.size() > most) trials.resize(most);
  size_t tried = 0;  // by this child
  size_t failed = 0;
  for (uint64_t i = plan->next_trial_; i < trials.size(); i = plan->next_trial_) {
    plan->next_trial_ = i + 1;
    const Trial& trial = trials[i];
    plan->Note(std::string(kind.name_) + ", step " + std::to_string(trial.step_) + ", call " +
               std::to_string(trial.nth_) + ", " + std::strerror(trial.os_errno_));
    try {
      Try(plan, kind, directory, at_first, trial);
    } catch (const Violation& violation) {
      throw Violation(NameOf(plan->FailedCall()) + ": " + violation.what());
    }
    ++tried;
    failed += plan->HasFailed() ? 1 : 0;
    if (plan->HasFailed() && plan->FailedCall().number_ == SYS_brk) {
      at_first = ProcessState::Now(directory);
    }
  }
  // What a process does once alone was seen by the first job, and comes no more.
  Demand(failed * 10 >= tried * 9, "only " + std::to_string(failed) + " faults came");
  std::printf("%s: %zu of %zu faults tried, %zu came\n", kind.name_, trials.size(), all, failed);
  std::fflush(stdout);
}

void FailEachCall(const Kind& kind, const SegmentDirectory& directory) {
  if (!hshm::test::CanSupervise()) {
    WARN("skipped: no seccomp notifications for this user");
    return;
  }
  const uint64_t seed = hshm::test::PrintedSeed(kind.name_);
  const size_t most = hshm::test::TimesOf(250, ~size_t{0});
  const auto ends = hshm::test::Supervise(
      [&](FaultPlan* plan) { TryAll(plan, kind, directory.path(), seed, most); });
  for (const std::string& end : ends) UNSCOPED_INFO(end);
  REQUIRE(ends.empty());
}

template <typename BackendT>
std::unique_ptr<MemoryBackend> Attached(const std::string& url) {
  auto backend = std::make_unique<BackendT>();
  backend->shm_attach(url, {.timeout_ms_ = 0});
  return backend;
}

std::unique_ptr<MemoryBackend> CreatedShm(const PosixShmOptions& options, size_t bytes = kBytes) {
  auto backend = std::make_unique<PosixShmMmap>();
  backend->shm_init(MemoryBackendId(1), bytes, "heap", options);
  return backend;
}

TEST_CASE("Whichever call fails with whatever error, a named segment is whole or not there") {
  const SegmentDirectory directory;
  FailEachCall({"named", [] { return CreatedShm({}); }, Attached<PosixShmMmap>}, directory);
}

TEST_CASE("Whichever call fails with whatever error, a segment that grows is whole or not there") {
  const SegmentDirectory directory;
  FailEachCall({"growing", [] { return CreatedShm({.max_size_bytes_ = kBytes}, 1_MiB); },
                Attached<PosixShmMmap>},
               directory);
}

TEST_CASE("Whichever call fails with whatever error, an unnamed segment is whole or not there") {
  const SegmentDirectory directory;
  FailEachCall(
      {"unnamed", [] { return CreatedShm({.naming_ = Naming::kUnnamed}); }, Attached<PosixShmMmap>},
      directory);
}

TEST_CASE("Whichever call fails with whatever error, a dead segment is replaced whole or not") {
  const SegmentDirectory directory;
  Kind kind{"replacing", [] { return CreatedShm({}); }, Attached<PosixShmMmap>};
  kind.is_replacing_ = true;
  FailEachCall(kind, directory);
}

TEST_CASE("Whichever call fails with whatever error, no hidden name of a segment stays") {
  const SegmentDirectory directory;
  Kind kind{"hidden", [] { return CreatedShm({}); }, Attached<PosixShmMmap>};
  kind.has_unnamed_files_ = false;
  FailEachCall(kind, directory);
}

TEST_CASE("Whichever call fails with whatever error, a file is whole or not there") {
  const SegmentDirectory directory;
  const std::string path = directory.path() + "/heap";
  const auto create = [&] {
    auto backend = std::make_unique<PosixMmap>();
    backend->shm_init(MemoryBackendId(1), kBytes, path, {.if_exists_ = IfExists::kReplaceDead});
    return backend;
  };
  const auto sync = [](MemoryBackend* backend) { static_cast<PosixMmap*>(backend)->Sync(); };
  FailEachCall({"file", create, Attached<PosixMmap>, sync}, directory);
}

TEST_CASE("Whichever call fails with whatever error, private memory is whole or not there") {
  const SegmentDirectory directory;
  for (const HugePages huge_pages : {HugePages::kNever, HugePages::kAdvise}) {
    const auto create = [&] {
      auto backend = std::make_unique<PosixMmap>();
      backend->shm_init(MemoryBackendId(1), kBytes, huge_pages);
      return backend;
    };
    FailEachCall({"private", create, nullptr}, directory);
  }
}

}  // namespace
}  // namespace hshm::ipc::test
