#include "crash/store_tracer.h"

#include <signal.h>
#include <sys/mman.h>
#include <ucontext.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <utility>

#if !defined(__x86_64__)
#error "The store tracer needs a trap flag that a signal handler can set: x86-64."
#endif

namespace hshm::ipc::crash {
namespace {

constexpr greg_t kTrapFlag = 0x100;
constexpr uint64_t kPageBytes = 4096;

StoreTracer* current_tracer = nullptr;

greg_t& Flags(void* context) {
  return static_cast<ucontext_t*>(context)->uc_mcontext.gregs[REG_EFL];
}

void Install(int number, void (*handler)(int, siginfo_t*, void*)) {
  struct sigaction action = {};
  action.sa_sigaction = handler;
  action.sa_flags = SA_SIGINFO;
  sigemptyset(&action.sa_mask);
  if (sigaction(number, &action, nullptr) != 0) std::abort();
}

}  // namespace

StoreTracer::StoreTracer(char* region, uint64_t size_bytes, TraceLog* log)
    : region_(region), size_bytes_(size_bytes), log_(log) {
  if (std::exchange(current_tracer, this) != nullptr) std::abort();
  Install(SIGSEGV, [](int number, siginfo_t* info, void* context) {
    OnFault(number, info->si_addr, context);
  });
  Install(SIGTRAP, [](int, siginfo_t*, void* context) { OnStep(context); });
}

StoreTracer::~StoreTracer() {
  current_tracer = nullptr;
  signal(SIGSEGV, SIG_DFL);
  signal(SIGTRAP, SIG_DFL);
}

void StoreTracer::Protect(bool is_writable) const {
  const int access = is_writable ? PROT_READ | PROT_WRITE : PROT_READ;
  if (mprotect(region_, size_bytes_, access) != 0) std::abort();
}

StoreTracer::Window StoreTracer::StoredInto() const {
  const uint64_t begin = stored_at_ / kPageBytes * kPageBytes;
  return {begin, std::min(begin + 2 * kPageBytes, size_bytes_)};
}

void StoreTracer::Start() {
  if (log_->Note(region_, 0, size_bytes_)) log_->EndImage();
  is_on_ = true;
  Protect(false);
}

void StoreTracer::Stop() {
  Protect(true);
  is_on_ = false;
}

void StoreTracer::CallAt(uint64_t image, std::function<void()> call) {
  call_at_ = image;
  call_ = std::move(call);
}

void StoreTracer::OnFault(int number, void* address, void* context) {
  StoreTracer* self = current_tracer;
  const uint64_t offset = static_cast<uint64_t>(static_cast<char*>(address) - self->region_);
  if (!self->is_on_ || offset >= self->size_bytes_) {
    signal(number, SIG_DFL);  // a fault of the code under test: it happens again, and ends it
    return;
  }
  const int saved = errno;
  if (std::exchange(self->is_storing_, true)) std::abort();  // two far stores of one instruction
  self->stored_at_ = offset;
  const Window window = self->StoredInto();  // of the whole region every page entry would change
  if (mprotect(self->region_ + window.begin_, window.end_ - window.begin_,
               PROT_READ | PROT_WRITE) != 0) {
    std::abort();
  }
  Flags(context) |= kTrapFlag;
  errno = saved;
}

void StoreTracer::OnStep(void* context) {
  StoreTracer* self = current_tracer;
  const int saved = errno;
  Flags(context) &= ~kTrapFlag;
  self->is_storing_ = false;
  const Window window = self->StoredInto();
  if (self->log_->Note(self->region_, window.begin_, window.end_)) {
    self->log_->EndImage();
    if (++self->image_count_ == self->call_at_) {
      self->is_on_ = false;
      self->Protect(true);
      self->call_();
      self->is_on_ = true;
    }
  }
  self->Protect(false);
  errno = saved;
}

}  // namespace hshm::ipc::crash
