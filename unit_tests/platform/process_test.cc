#include "hermes_shm/platform/process.h"

#include "support/catch.h"
#include "support/child_process.h"

using hshm::test::ChildProcess;
using hshm::test::Signpost;

TEST_CASE("Process facts of the caller are those of the system") {
  CHECK(hshm::ProcessId() == static_cast<uint32_t>(getpid()));
  CHECK(hshm::UserId() == geteuid());
  CHECK(hshm::StartTime(hshm::ProcessId()) > 0);
  CHECK(hshm::PidNamespace() > 0);
  CHECK(hshm::BootId().size() == 36);
  CHECK(hshm::BootId() == hshm::BootId());
}

TEST_CASE("Process state and start time are found behind the oddest name") {
  Signpost named;
  ChildProcess child([&] {
    prctl(PR_SET_NAME, "a) Z 1 (b 2 3");
    named.Tell();
    raise(SIGSTOP);
    return 0;
  });
  named.Await();
  child.AwaitStop();
  const auto pid = static_cast<uint32_t>(child.pid());
  CHECK(hshm::ProcessState(pid) == 'T');
  CHECK(hshm::StartTime(pid) >= hshm::StartTime(hshm::ProcessId()));
  CHECK(hshm::DescribeProcess(pid) == "pid " + std::to_string(pid) + " (stopped)");
  child.KillWithoutReaping();
  CHECK(hshm::ProcessState(pid) == 'Z');
  CHECK(hshm::DescribeProcess(pid) == "pid " + std::to_string(pid) + " (dead)");
  child.Wait();
  CHECK(hshm::ProcessState(pid) == '\0');
  CHECK(hshm::StartTime(pid) == 0);
  CHECK(hshm::DescribeProcess(pid) == "pid " + std::to_string(pid) + " (gone)");
}
