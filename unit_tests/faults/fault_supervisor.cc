#include "faults/fault_supervisor.h"

#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <poll.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <new>

#include "faults/system_calls.h"
#include "support/child_process.h"

#ifndef SYS_pidfd_open
#define SYS_pidfd_open 434  // Linux 5.3; these two numbers are those of every architecture
#endif
#ifndef SYS_pidfd_getfd
#define SYS_pidfd_getfd 438  // Linux 5.6
#endif
#ifndef SECCOMP_IOCTL_NOTIF_SET_FLAGS
#define SECCOMP_IOCTL_NOTIF_SET_FLAGS SECCOMP_IOW(4, __u64)
#endif
#ifndef SECCOMP_USER_NOTIF_FD_SYNC_WAKE_UP
#define SECCOMP_USER_NOTIF_FD_SYNC_WAKE_UP (1UL << 0)
#endif

namespace hshm::test {
namespace {

constexpr size_t kMaxEnds = 20;  // a library that is this wrong need not be tried further
constexpr int kSilenceMs = 5000;

/** From now on every system call of this thread waits for an answer. @return the listener, or -1 */
int ListenToOwnCalls() {
  if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) return -1;
  sock_filter ask_for_each[] = {BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_USER_NOTIF)};
  const sock_fprog program = {1, ask_for_each};
  return static_cast<int>(
      syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_NEW_LISTENER, &program));
}

/** The child's listener as a descriptor of this process. */
int TakeListener(pid_t child, int number) {
  const int process = static_cast<int>(syscall(SYS_pidfd_open, child, 0));
  if (process < 0) return -1;
  const int listener = static_cast<int>(syscall(SYS_pidfd_getfd, process, number, 0));
  close(process);
  // A third faster, from Linux 6.6: the two take turns on one processor.
  ioctl(listener, SECCOMP_IOCTL_NOTIF_SET_FLAGS, SECCOMP_USER_NOTIF_FD_SYNC_WAKE_UP);
  return listener;
}

/** Answers one call. False when the child has gone meanwhile. */
bool AnswerOne(int listener, FaultPlan* plan) {
  seccomp_notif asked = {};
  if (ioctl(listener, SECCOMP_IOCTL_NOTIF_RECV, &asked) != 0) return errno == EINTR;
  SeenCall call;
  call.number_ = asked.data.nr;
  std::copy(std::begin(asked.data.args), std::end(asked.data.args), call.arguments_.begin());
  seccomp_notif_resp answer = {};
  answer.id = asked.id;
  answer.error = -plan->Judge(call);
  if (answer.error == 0) answer.flags = SECCOMP_USER_NOTIF_FLAG_CONTINUE;
  return ioctl(listener, SECCOMP_IOCTL_NOTIF_SEND, &answer) == 0 || errno == EINTR;
}

enum class End { kDied, kSilent };

End AnswerAll(int listener, FaultPlan* plan) {
  for (;;) {
    pollfd waiting = {listener, POLLIN, 0};
    const int ready = poll(&waiting, 1, kSilenceMs);
    if (ready < 0 && errno == EINTR) continue;
    if (ready == 0) return End::kSilent;
    if ((waiting.revents & POLLIN) == 0) return End::kDied;  // nobody is left who could ask
    if (!AnswerOne(listener, plan)) return End::kDied;
  }
}

FaultPlan* MapPlan() {
  void* memory =
      mmap(nullptr, sizeof(FaultPlan), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED) std::abort();
  return new (memory) FaultPlan;
}

/** One child from its start to its end. @return what went wrong; empty when nothing did */
std::string RunOne(FaultPlan* plan, const std::function<void(FaultPlan*)>& body) {
  plan->listener_ = -1;
  ChildProcess child([&] {
    plan->listener_ = ListenToOwnCalls();
    if (plan->listener_ < 0) return 77;
    try {
      body(plan);
    } catch (const std::exception& error) {
      plan->Note(plan->note() + ": " + error.what());
      return 1;
    }
    return 0;
  });
  while (plan->listener_ < 0) {
    if (!child.IsRunning()) return "the child could not listen to its calls";
    sched_yield();
  }
  const int listener = TakeListener(child.pid(), plan->listener_);
  if (listener < 0) return "the child's listener could not be had";
  const End end = AnswerAll(listener, plan);
  if (end == End::kSilent) child.Signal(SIGKILL);
  close(listener);
  const int status = child.Wait();
  if (status == 0) return "";
  if (end == End::kSilent) return plan->note() + ": no system call, and no end, for 5 s";
  if (status < 0) return plan->note() + ": died of signal " + std::to_string(-status);
  return plan->note();
}

}  // namespace

FaultPlan::Armed::Armed(FaultPlan* plan, uint32_t nth, int os_errno) : plan_(plan) {
  plan->nth_ = nth;
  plan->os_errno_ = os_errno;
  plan->has_failed_ = false;
  plan->call_count_ = 0;
  plan->is_armed_ = true;
}

void FaultPlan::Note(const std::string& text) {
  const size_t bytes = std::min(text.size(), kNoteBytes - 1);
  std::memcpy(note_, text.data(), bytes);
  note_[bytes] = '\0';
}

int FaultPlan::Judge(const SeenCall& call) {
  const bool is_unnamed =
      call.number_ == SYS_openat && (call.arguments_[2] & O_TMPFILE) == uint64_t{O_TMPFILE};
  const int standing = forbids_unnamed_files_ && is_unnamed ? EOPNOTSUPP : 0;
  if (!is_armed_ || call.number_ == SYS_exit_group) return standing;
  const uint32_t index = call_count_;
  if (index < kMaxCalls) calls_[index] = call;
  call_count_ = index + 1;
  if (index + 1 != nth_) return standing;
  const SystemCallInfo* const info = FindSystemCall(call.number_);
  if (info == nullptr || !info->CanFailWith(os_errno_)) return standing;
  has_failed_ = true;
  failed_ = call;
  return os_errno_;
}

bool CanSupervise() {
  const auto nothing = [](FaultPlan*) {};
  FaultPlan* const plan = MapPlan();
  const bool is_well = RunOne(plan, nothing).empty();
  munmap(plan, sizeof(FaultPlan));
  return is_well;
}

std::vector<std::string> Supervise(const std::function<void(FaultPlan*)>& body) {
  FaultPlan* const plan = MapPlan();
  std::vector<std::string> ends;
  for (;;) {
    const std::string end = RunOne(plan, body);
    if (end.empty()) break;
    ends.push_back(end);
    if (ends.size() == kMaxEnds) break;
  }
  munmap(plan, sizeof(FaultPlan));
  return ends;
}

}  // namespace hshm::test
