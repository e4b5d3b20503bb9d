/**
 * The first process of the machine that run_in_qemu.py starts: mounts what a test program needs,
 * runs it, says how it ended, and switches the machine off, whatever happened.
 */
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>

namespace {

bool Mount(const char* type, const char* path) {
  mkdir(path, 0755);
  if (mount(type, path, type, 0, nullptr) == 0) return true;
  std::printf("numa_init: mounting %s on %s: %s\n", type, path, std::strerror(errno));
  return false;
}

/** The exit status of the program, or 255. */
int Run(const char* program) {
  const pid_t pid = fork();
  if (pid == 0) {
    execl(program, program, static_cast<char*>(nullptr));
    std::printf("numa_init: starting %s: %s\n", program, std::strerror(errno));
    std::fflush(stdout);
    _exit(255);
  }
  int status = -1;
  while (pid > 0) {  // also the orphans of the program
    const pid_t ended = wait(&status);
    if (ended == pid) break;
    if (ended < 0 && errno != EINTR) break;
  }
  return WIFEXITED(status) ? WEXITSTATUS(status) : 255;
}

}  // namespace

int main() {
  if (getpid() != 1) {
    std::fputs("numa_init is the first process of a virtual machine; see run_in_qemu.py\n", stderr);
    return 2;
  }
  bool is_ready = Mount("proc", "/proc");
  is_ready = Mount("sysfs", "/sys") && is_ready;
  mkdir("/dev", 0755);
  is_ready = Mount("tmpfs", "/dev/shm") && is_ready;
  const int status = is_ready ? Run("/program") : 255;
  std::printf("numa_init: exit status %d\n", status);
  std::fflush(stdout);
  sync();
  reboot(RB_POWER_OFF);
  return 1;
}
