#ifndef HSHM_UNIT_TESTS_FAULTS_FAULT_SUPERVISOR_H_
#define HSHM_UNIT_TESTS_FAULTS_FAULT_SUPERVISOR_H_

#include <array>
#include <atomic>
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

namespace hshm::test {

/** A system call as the kernel saw it. */
struct SeenCall {
  int number_ = 0;
  std::array<uint64_t, 6> arguments_ = {};
};

/**
 * What a child wants done with its system calls, in memory that it shares with its supervisor. The
 * supervisor looks and writes only while the child is inside a system call, so that neither waits
 * for the other anywhere else.
 */
class FaultPlan {
 public:
  static constexpr uint32_t kMaxCalls = 16384;
  static constexpr size_t kNoteBytes = 4096;

  /** Runs body() with its call number `nth`, from 1, failing with os_errno, if that is an error of
   * that call. 0: none fails, all are noted. */
  template <typename Body>
  void Watch(uint32_t nth, int os_errno, Body body) {
    const Armed armed(this, nth, os_errno);
    body();
  }

  /** From now on opening an unnamed file fails, as on file systems that know none. */
  void ForbidUnnamedFiles() { forbids_unnamed_files_ = true; }

  /** Of calls that no Watch has seen. */
  void Forget() { call_count_ = 0, has_failed_ = false; }

  /** Of the last Watch. */
  bool HasFailed() const { return has_failed_; }
  const SeenCall& FailedCall() const { return failed_; }
  uint32_t call_count() const { return call_count_; }
  const SeenCall& call(uint32_t index) const { return calls_[index]; }

  /** What the child is doing, should it not come back; and what it found wrong. */
  void Note(const std::string& text);
  std::string note() const { return note_; }

  // The supervisor's side.
  /** @return the errno to answer with, 0 to let the call go on */
  int Judge(const SeenCall& call);

  std::atomic<int> listener_{-1};        // the child's descriptor of the listener
  std::atomic<uint64_t> next_trial_{0};  // where the next child goes on when this one dies

 private:
  struct Armed {
    Armed(FaultPlan* plan, uint32_t nth, int os_errno);
    ~Armed() { plan_->is_armed_ = false; }
    Armed(const Armed&) = delete;
    Armed& operator=(const Armed&) = delete;
    FaultPlan* plan_;
  };

  std::atomic<bool> is_armed_{false};
  std::atomic<bool> forbids_unnamed_files_{false};
  std::atomic<bool> has_failed_{false};
  std::atomic<uint32_t> nth_{0};
  std::atomic<int> os_errno_{0};
  std::atomic<uint32_t> call_count_{0};
  SeenCall failed_;
  SeenCall calls_[kMaxCalls];
  char note_[kNoteBytes] = {};
};

/** False where the system has no seccomp notifications, or this user may not use them. */
bool CanSupervise();

/**
 * Runs body(plan) in children whose every system call is answered here (seccomp_unotify(2)). One
 * that dies, or makes no call for five seconds, is followed by another, which goes on with
 * plan->next_trial_. @return a sentence for each such end, made of its note; empty: all went well
 */
std::vector<std::string> Supervise(const std::function<void(FaultPlan*)>& body);

}  // namespace hshm::test

#endif  // HSHM_UNIT_TESTS_FAULTS_FAULT_SUPERVISOR_H_
