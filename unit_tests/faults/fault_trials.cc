#include "faults/fault_trials.h"

#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <optional>
#include <random>
#include <string>
#include <vector>

#include "faults/fault_supervisor.h"
#include "faults/process_state.h"
#include "faults/system_calls.h"
#include "support/catch.h"
#include "support/full_run.h"
#include "support/own_mounts.h"
#include "support/seed.h"
#include "support/skip.h"

namespace hshm::ipc::test {
namespace {

using hshm::test::FaultPlan;
using hshm::test::ProcessState;
using hshm::test::SeenCall;

/** Of a run of the same call the quick form tries so many, the first ones. */
constexpr size_t kQuickSameCalls = 2;
/** A longer run asks for one slot after the other: of it the first two, a middle and the last. */
constexpr size_t kLongRun = 64;

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

/** EAGAIN: of locked memory, or a device. */
bool IsLackOfRoom(int os_errno) {
  const int lacks[] = {ENOSPC, EFAULT, ENOMEM, EFBIG, EDQUOT, EAGAIN};
  return std::find(std::begin(lacks), std::end(lacks), os_errno) != std::end(lacks);
}

/** Whether an error has the errno, or what byte_lock.h and docs/errors.md say instead: a lack of
 * room is told in bytes, a name in /proc that is not there is a missing /proc, and what is taken is
 * that alone of a lock that another seems to hold. */
bool TellsCause(const Error& error, const SeenCall& call, const Trial& trial) {
  const int os_errno = trial.os_errno_;
  if (error.os_errno() == os_errno) return true;
  // The allocator is told of its memory only that it is not there.
  if (error.code() == ErrorCode::kNoSpace) {
    return trial.step_ != Job::kCreate || IsLackOfRoom(os_errno);
  }
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

/** lseek(2), SEEK_DATA: ENXIO says that all bytes from there on are zero, so it is no failure. */
bool IsWordOfZeros(const FaultPlan& plan, const Trial& trial) {
  return plan.HasFailed() && plan.FailedCall().number_ == SYS_lseek && trial.os_errno_ == ENXIO;
}

/** An Error that a creation throws without any fault, where a kind may be refused. */
bool IsRefusal(const Kind& kind, const Error& error) {
  return kind.may_be_refused_ &&
         (error.code() == ErrorCode::kUnsupported || error.code() == ErrorCode::kNoSpace);
}

/** The error of a creation that no call fails, nullopt when it succeeds. */
std::optional<Error> RefusalOf(const Kind& kind) {
  try {
    kind.create_()->shm_destroy();
  } catch (const Error& error) {
    if (IsRefusal(kind, error)) return error;
    throw;
  }
  return std::nullopt;
}

/** Runs a step with its fault. @return what was thrown, in words; empty: nothing was */
template <typename Body>
std::string RunWithFault(FaultPlan* plan, const Trial& trial, Body body) {
  try {
    plan->Watch(trial.nth_, trial.os_errno_, body);
  } catch (const Error& thrown) {
    Demand(plan->HasFailed(), std::string("an error without a fault: ") + thrown.what());
    Demand(TellsCause(thrown, plan->FailedCall(), trial),
           std::string("the error hides its cause: ") + thrown.what());
    return thrown.what();
  } catch (const std::bad_alloc&) {
    return "std::bad_alloc";
  }
  return "";
}

/** What a job and a refused creation have in common: the child, and how it was at first. */
class Trier {
 public:
  Trier(FaultPlan* plan, const Kind& kind, const std::string& directory)
      : plan_(plan), kind_(kind), directory_(directory) {
    LiveOnce();  // what is made once in a process is there from now on
    at_first_ = ProcessState::Now(directory_);
  }

  /** One job with one fault. @throws Violation */
  void Try(const Trial& trial);
  bool IsRefused() const { return refusal_.has_value(); }
  /** The end of malloc's heap was moved, by a fault. */
  void LookAgain() { at_first_ = ProcessState::Now(directory_); }

 private:
  void LiveOnce();
  void TryStep(Job* job, const Trial& trial);
  void TryRefused(const Trial& trial);

  FaultPlan* plan_;
  const Kind& kind_;
  const std::string& directory_;
  std::optional<Error> refusal_;
  ProcessState at_first_;
  bool is_name_left_ = false;
  bool is_heap_stuck_ = false;
};

void Trier::LiveOnce() {
  refusal_ = RefusalOf(kind_);
  if (refusal_.has_value()) return;
  Job job(kind_);
  for (int step = 0; step < Job::kSteps; ++step) {
    if (job.Has(step)) job.Take(step);
    if (step == Job::kMakeAlloc && job.IsShared()) job.LetPeerIn();
  }
  job.End();
}

void Trier::TryStep(Job* job, const Trial& trial) {
  const int step = trial.step_;
  if (kind_.is_replacing_ && step == Job::kCreate) kind_.create_()->shm_detach();
  ProcessState before = ProcessState::Now(directory_);
  const std::string error = RunWithFault(plan_, trial, [&] { job->Take(step); });
  const SeenCall failed = plan_->FailedCall();
  if (plan_->HasFailed()) {
    FinishRefused(failed);
    is_heap_stuck_ = failed.number_ == SYS_brk;  // malloc goes on in mappings of its own
    is_name_left_ = step == Job::kDestroy || IsUnlink(failed);
  }
  if (!error.empty()) {
    Demand(Job::MayThrow(step), "a step that throws nothing has thrown: " + error);
    const ProcessState after = ProcessState::Now(directory_);
    // The dead segment goes first: its memory may be what the new one needs.
    if (kind_.is_replacing_ && after.files_.empty()) before.files_.clear();
    const std::string left = before.DifferenceTo(after);
    Demand(left.empty() || is_heap_stuck_, "after \"" + error + "\":" + left);
    job->Take(step);
  }
}

void Trier::Try(const Trial& trial) {
  is_name_left_ = is_heap_stuck_ = false;
  if (IsRefused()) return TryRefused(trial);
  {
    Job job(kind_);
    for (int step = 0; step < Job::kSteps; ++step) {
      if (!job.Has(step)) continue;
      if (step == trial.step_) {
        TryStep(&job, trial);
      } else {
        job.Take(step);
      }
      if (step == Job::kMakeAlloc && job.IsShared()) job.LetPeerIn();
      if (step == trial.step_) job.CheckAfter(step);
    }
    Demand(job.HasZeros() || IsWordOfZeros(*plan_, trial), "a zeroed block is not zero");
    job.End();
  }
  // The names of dead segments, hidden ones too, are no obstacle, and go with the next creation.
  if (is_name_left_) kind_.create_()->shm_destroy();
  const std::string left = at_first_.DifferenceTo(ProcessState::Now(directory_));
  Demand(left.empty() || is_heap_stuck_, "at the end:" + left);
}

/** Refused with the fault as without it, or with an error that tells the cause. */
void Trier::TryRefused(const Trial& trial) {
  if (trial.step_ != Job::kCreate) return;
  static_cast<void>(RunWithFault(plan_, trial, [&] {
    const std::optional<Error> refusal = RefusalOf(kind_);
    Demand(refusal.has_value(), "made what is refused");
    if (refusal->code() != refusal_->code()) throw *refusal;
  }));
  if (plan_->HasFailed()) {
    FinishRefused(plan_->FailedCall());
    is_heap_stuck_ = plan_->FailedCall().number_ == SYS_brk;
    is_name_left_ = IsUnlink(plan_->FailedCall());
  }
  const std::optional<Error> again = RefusalOf(kind_);
  Demand(again.has_value() && again->code() == refusal_->code(), "another refusal than at first");
  const std::string left = at_first_.DifferenceTo(ProcessState::Now(directory_));
  Demand(left.empty() || is_heap_stuck_, "after a refusal:" + left);
}

/** Which calls of a run of the same call fail, counted from 0. */
bool IsTried(size_t place, size_t run, bool is_full) {
  if (!is_full) return place < kQuickSameCalls;
  return run <= kLongRun || place < 2 || place == run / 2 || place == run - 1;
}

bool IsAsked(const Kind& kind, int step, int number) {
  if (kind.only_set_up_ && step != Job::kCreate && step != Job::kAttach) return false;
  const std::vector<int>& only = kind.only_calls_;
  return only.empty() || std::find(only.begin(), only.end(), number) != only.end();
}

/** The faults of a step: each of its calls with each error, but for long runs of the same call. */
void AddTrials(const FaultPlan& plan, const Kind& kind, int step, bool is_full,
               std::vector<Trial>* trials) {
  const uint32_t calls = plan.call_count();
  Demand(calls <= FaultPlan::kMaxCalls, "too many calls for the plan");
  for (uint32_t begin = 0, end = 0; begin < calls; begin = end) {
    const SeenCall& first = plan.call(begin);
    const auto* const info = hshm::test::FindSystemCall(first.number_);
    Demand(info != nullptr, NameOf(first) + " is not in the table of system_calls.cc");
    const auto is_same = [&](const SeenCall& call) {
      return call.number_ == first.number_ && call.arguments_[1] == first.arguments_[1];
    };
    while (end < calls && is_same(plan.call(end))) ++end;
    if (!IsAsked(kind, step, first.number_)) continue;
    for (uint32_t index = begin; index < end; ++index) {
      if (!IsTried(index - begin, end - begin, is_full)) continue;
      for (const int os_errno : info->errors_) trials->push_back({step, index + 1, os_errno});
    }
  }
}

/** In the child: finds the calls of each step, then tries them in an order that the seed says. */
void TryAll(FaultPlan* plan, const Kind& kind, const std::string& directory, uint64_t seed) {
  hshm::test::KeepMallocOutOfMappings();
  if (!kind.has_unnamed_files_) plan->ForbidUnnamedFiles();
  const bool is_full = hshm::test::TimesOf(0, 1) != 0;
  std::vector<Trial> trials;
  plan->Note(kind.name_ + ", no fault");
  Trier trier(plan, kind, directory);
  for (int step = 0; step < Job::kSteps; ++step) {
    plan->Forget();
    trier.Try({step, 0, 0});
    AddTrials(*plan, kind, step, is_full, &trials);
  }
  const size_t all = trials.size();
  std::shuffle(trials.begin(), trials.end(), std::mt19937_64(seed));
  trials.resize(std::min(trials.size(), hshm::test::TimesOf(120, ~uint64_t{0})));
  size_t tried = 0;  // by this child
  size_t failed = 0;
  for (uint64_t i = plan->next_trial_; i < trials.size(); i = plan->next_trial_) {
    plan->next_trial_ = i + 1;
    const Trial& trial = trials[i];
    plan->Note(kind.name_ + ", step " + std::to_string(trial.step_) + ", call " +
               std::to_string(trial.nth_) + ", " + std::strerror(trial.os_errno_));
    try {
      trier.Try(trial);
    } catch (const Violation& violation) {
      throw Violation(NameOf(plan->FailedCall()) + ": " + violation.what());
    }
    ++tried;
    failed += plan->HasFailed() ? 1 : 0;
    if (plan->HasFailed() && plan->FailedCall().number_ == SYS_brk) trier.LookAgain();
  }
  // What a process does once alone was seen by the first job, and comes no more.
  Demand(failed * 10 >= tried * 9, "only " + std::to_string(failed) + " faults came");
  std::printf("%s%s: %zu of %zu faults tried, %zu came\n", kind.name_.c_str(),
              trier.IsRefused() ? " (refused here)" : "", trials.size(), all, failed);
  std::fflush(stdout);
}

bool MountFor(const Kind& kind, const std::string& directory) {
  return kind.file_system_ == nullptr ||
         hshm::test::MountOwn(kind.file_system_, directory.c_str(), kind.mount_options_);
}

}  // namespace

void FailEachCall(const Kind& kind, const std::string& directory) {
  if (!hshm::test::CanSupervise()) {
    hshm::test::Skip("no seccomp notifications for this user");
  }
  const uint64_t seed = hshm::test::PrintedSeed(kind.name_.c_str());
  const auto ends = hshm::test::Supervise([&](FaultPlan* plan) {
    Demand(MountFor(kind, directory), "no file system of its own");
    TryAll(plan, kind, directory, seed);
  });
  for (const std::string& end : ends) UNSCOPED_INFO(end);
  REQUIRE(ends.empty());
}

}  // namespace hshm::ipc::test
