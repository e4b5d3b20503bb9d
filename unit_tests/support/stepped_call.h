#ifndef HSHM_UNIT_TESTS_SUPPORT_STEPPED_CALL_H_
#define HSHM_UNIT_TESTS_SUPPORT_STEPPED_CALL_H_

#include <signal.h>
#include <ucontext.h>

#include <cerrno>
#include <cstdlib>
#include <functional>

#if !defined(__x86_64__)
#error "Stepping needs the processor's trap flag: x86-64."
#endif

namespace hshm::test {

/**
 * A call of this thread between any two of whose instructions others get a turn. So two steps that
 * lie a nanosecond apart are met in every run, and not only when the machine is busy. One at a
 * time; uses SIGTRAP. What has the turn may not wait for what the call holds.
 */
class SteppedCall {
 public:
  /** Runs call(), and between() after each of its instructions until that says false. */
  static void Run(const std::function<void()>& call, const std::function<bool()>& between) {
    Begin(between);
    call();
    End();
  }

  /** From within a call: the same of what is left of it, until End. */
  static void Begin(const std::function<bool()>& between) {
    struct sigaction action = {};
    action.sa_sigaction = [](int, siginfo_t*, void* context) { OnStep(context); };
    action.sa_flags = SA_SIGINFO;
    sigemptyset(&action.sa_mask);
    if (sigaction(SIGTRAP, &action, nullptr) != 0) std::abort();
    Between() = &between;
    __builtin_ia32_writeeflags_u64(__builtin_ia32_readeflags_u64() | kTrapFlag);
  }
  static void End() {
    __builtin_ia32_writeeflags_u64(__builtin_ia32_readeflags_u64() & ~kTrapFlag);
    Between() = nullptr;
  }

 private:
  static constexpr unsigned long long kTrapFlag = 0x100;

  static const std::function<bool()>*& Between() {
    static const std::function<bool()>* between = nullptr;
    return between;
  }
  /** The system has cleared the flag for the handler, and sets it again behind it. */
  static void OnStep(void* context) {
    const int saved = errno;
    const bool goes_on = Between() != nullptr && (*Between())();
    errno = saved;
    if (goes_on) return;
    static_cast<ucontext_t*>(context)->uc_mcontext.gregs[REG_EFL] &=
        ~static_cast<greg_t>(kTrapFlag);
  }
};

}  // namespace hshm::test

#endif  // HSHM_UNIT_TESTS_SUPPORT_STEPPED_CALL_H_
