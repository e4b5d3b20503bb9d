#include "sandbox.h"

#include <poll.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <csignal>
#include <cstdio>
#include <exception>

#include "hermes_shm/base/error.h"
#include "hermes_shm/platform/file_descriptor.h"
#include "hermes_shm/platform/futex.h"
#include "private_copy.h"

namespace hshm::tool {
namespace {

constexpr size_t kMostErrorBytes = 1 << 20;  // of a child that complains without end

struct Pipe {
  FileDescriptor read_;
  FileDescriptor write_;
};

Pipe MakePipe() {
  int ends[2];
  if (pipe(ends) != 0) {
    throw Error(ErrorCode::kSystem, "No pipe to a child could be made.", errno);
  }
  return {FileDescriptor(ends[0]), FileDescriptor(ends[1])};
}

void WriteAll(int fd, const std::string& text) {
  for (size_t done = 0; done < text.size();) {
    const ssize_t wrote = write(fd, text.data() + done, text.size() - done);
    if (wrote < 0 && errno != EINTR) return;
    if (wrote > 0) done += static_cast<size_t>(wrote);
  }
}

[[noreturn]] void RunChild(int output, int errors, const std::function<std::string()>& task) {
  const struct rlimit no_core = {0, 0};
  setrlimit(RLIMIT_CORE, &no_core);
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  dup2(errors, STDERR_FILENO);
  try {
    WriteAll(output, task());
  } catch (const std::exception& error) {
    WriteAll(STDERR_FILENO, std::string(error.what()) + "\n");
    _exit(PrivateCopy::kLedAstray);
  }
  _exit(0);
}

/** Reads what there is. @return false at the end */
bool ReadSome(int fd, std::string* text, size_t most) {
  std::array<char, 65536> some;
  const ssize_t got = read(fd, some.data(), some.size());
  if (got < 0) return errno == EINTR;
  if (text->size() < most) text->append(some.data(), static_cast<size_t>(got));
  return got > 0;
}

/** @return false when the time is over before the child has closed both */
bool ReadBoth(int output, int errors, uint64_t timeout_s, SandboxResult* result,
              std::string* complaints) {
  const uint64_t deadline_us = MonotonicUs() + timeout_s * 1000 * 1000;
  std::array<struct pollfd, 2> ends = {{{output, POLLIN, 0}, {errors, POLLIN, 0}}};
  while (ends[0].fd >= 0 || ends[1].fd >= 0) {
    const uint64_t now_us = MonotonicUs();
    if (now_us >= deadline_us) return false;
    poll(ends.data(), ends.size(), static_cast<int>((deadline_us - now_us) / 1000 + 1));
    for (struct pollfd& end : ends) {
      if (end.fd < 0 || end.revents == 0) continue;
      const bool is_output = &end == &ends[0];
      if (!ReadSome(end.fd, is_output ? &result->output_ : complaints,
                    is_output ? SIZE_MAX : kMostErrorBytes)) {
        end.fd = -1;
      }
    }
  }
  return true;
}

std::vector<std::string> LinesOf(const std::string& text) {
  std::vector<std::string> lines;
  for (size_t begin = 0; begin < text.size();) {
    const size_t end = std::min(text.find('\n', begin), text.size());
    if (end > begin) lines.push_back(text.substr(begin, end - begin));
    begin = end + 1;
  }
  return lines;
}

}  // namespace

SandboxResult RunInSandbox(uint64_t timeout_s, const std::function<std::string()>& task) {
  Pipe output = MakePipe();
  Pipe errors = MakePipe();
  std::fflush(nullptr);
  const pid_t child = fork();
  if (child < 0) throw Error(ErrorCode::kSystem, "No child could be made.", errno);
  if (child == 0) RunChild(output.write_.get(), errors.write_.get(), task);
  output.write_.Close();
  errors.write_.Close();
  SandboxResult result;
  std::string complaints;
  const bool in_time =
      ReadBoth(output.read_.get(), errors.read_.get(), timeout_s, &result, &complaints);
  if (!in_time) kill(child, SIGKILL);
  int status = 0;
  while (waitpid(child, &status, 0) < 0 && errno == EINTR) {}
  result.lines_ = LinesOf(complaints);
  result.is_done_ = in_time && WIFEXITED(status) && WEXITSTATUS(status) == 0;
  if (!in_time) {
    result.how_it_ended_ = "was stopped after " + std::to_string(timeout_s) + " s";
  } else if (WIFSIGNALED(status)) {
    result.how_it_ended_ = "ended by signal " + std::to_string(WTERMSIG(status));
  } else if (!result.is_done_) {
    result.how_it_ended_ = "was given up";
  }
  return result;
}

}  // namespace hshm::tool
