#include "loops/crew.h"

#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cstdlib>
#include <cstring>
#include <new>

#include "loops/touch.h"

extern char** environ;

namespace hshm::bench {
namespace {

uint64_t ClockNs(clockid_t clock) noexcept {
  timespec now{};
  clock_gettime(clock, &now);
  return static_cast<uint64_t>(now.tv_sec) * 1000000000 + static_cast<uint64_t>(now.tv_nsec);
}

void InitBarrier(pthread_barrier_t* barrier, uint32_t count) {
  pthread_barrierattr_t shared;
  pthread_barrierattr_init(&shared);
  pthread_barrierattr_setpshared(&shared, PTHREAD_PROCESS_SHARED);
  if (pthread_barrier_init(barrier, &shared, count) != 0) StopWith("no barrier can be made");
  pthread_barrierattr_destroy(&shared);
}

/** A member ended before it was told to: nobody would come to the barrier. */
void StopForLostMember(int) {
  static constexpr char kSentence[] = "bench: a process of the crew ended early\n";
  static_cast<void>(!write(STDERR_FILENO, kSentence, sizeof(kSentence) - 1));
  _exit(3);
}

}  // namespace

uint64_t ThreadCpuNs() noexcept { return ClockNs(CLOCK_THREAD_CPUTIME_ID); }
uint64_t WallNs() noexcept { return ClockNs(CLOCK_MONOTONIC); }

bool MemberArguments::Read(int argc, char** argv, MemberArguments* arguments) {
  if (argc != 5 || std::strcmp(argv[1], kFlag) != 0) return false;
  arguments->index_ = static_cast<uint32_t>(std::atoi(argv[2]));
  arguments->control_fd_ = std::atoi(argv[3]);
  arguments->url_ = argv[4];
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  return true;
}

CrewControl* MapControl(int control_fd) {
  void* address =
      mmap(nullptr, sizeof(CrewControl), PROT_READ | PROT_WRITE, MAP_SHARED, control_fd, 0);
  if (address == MAP_FAILED) StopWith("the control block of the crew cannot be mapped");
  return static_cast<CrewControl*>(address);
}

Crew::Crew(uint32_t members) : control_fd_(memfd_create("hshm-bench-crew", MFD_CLOEXEC)) {
  if (members == 0 || members > kMaxMembers) StopWith("a crew has 1 to 256 members");
  if (control_fd_ < 0 || ftruncate(control_fd_, sizeof(CrewControl)) != 0) {
    StopWith("no memory for the control block of the crew");
  }
  control_ = new (MapControl(control_fd_)) CrewControl();
  control_->members_ = members;
  InitBarrier(&control_->start_, members + 1);
  InitBarrier(&control_->end_, members + 1);
  InitBarrier(&control_->turn_, members);
}

Crew::~Crew() {
  if (!processes_.empty()) signal(SIGCHLD, SIG_DFL);
  Run(Job::kQuit, 0);
  for (std::thread& thread : threads_) thread.join();
  for (const pid_t process : processes_) waitpid(process, nullptr, 0);
  munmap(control_, sizeof(CrewControl));
  close(control_fd_);
}

void Crew::StartThreads(const Main& main) {
  for (uint32_t index = 0; index < control_->members_; ++index) {
    threads_.emplace_back([this, main, index] { main(*control_, index); });
  }
}

void Crew::StartPrograms(const std::string& url) {
  signal(SIGCHLD, StopForLostMember);
  fcntl(control_fd_, F_SETFD, 0);  // the members inherit it
  for (uint32_t index = 0; index < control_->members_; ++index) {
    std::string program = "/proc/self/exe", flag = MemberArguments::kFlag;
    std::string index_text = std::to_string(index), fd_text = std::to_string(control_fd_);
    std::string url_text = url;
    char* arguments[] = {program.data(), flag.data(),     index_text.data(),
                         fd_text.data(), url_text.data(), nullptr};
    pid_t process = 0;
    if (posix_spawn(&process, program.c_str(), nullptr, nullptr, arguments, environ) != 0) {
      StopWith("a process of the crew cannot be started");
    }
    processes_.push_back(process);
  }
  fcntl(control_fd_, F_SETFD, FD_CLOEXEC);
}

Crew::Figures Crew::Run(Job job, uint64_t ops_per_member) {
  control_->job_ = job;
  control_->ops_ = ops_per_member;
  std::memset(control_->results_, 0, sizeof(control_->results_));
  pthread_barrier_wait(&control_->start_);
  const uint64_t start_ns = WallNs();
  pthread_barrier_wait(&control_->end_);
  Figures figures;
  figures.wall_ns_ = WallNs() - start_ns;
  for (uint32_t index = 0; index < control_->members_; ++index) {
    figures.cpu_ns_ += control_->results_[index].cpu_ns_;
    figures.ops_ += control_->results_[index].ops_;
  }
  return figures;
}

}  // namespace hshm::bench
