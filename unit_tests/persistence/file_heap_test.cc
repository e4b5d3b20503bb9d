#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <random>
#include <string>

#include "hermes_shm/base/error.h"
#include "support/catch.h"
#include "support/child_process.h"

namespace hshm::test {
namespace {

/** The path of a heap's file, which goes with this object. */
struct HeapFile {
  HeapFile()
      : path_(std::filesystem::temp_directory_path().string() + "/hshm_file_heap_test_" +
              std::to_string(getpid())) {}
  ~HeapFile() {
    std::error_code ignored;
    std::filesystem::remove(path_, ignored);
  }
  HeapFile(const HeapFile&) = delete;
  HeapFile& operator=(const HeapFile&) = delete;

  /** Another program with the file; what it says goes to `out`. */
  ChildProcess Start(const char* what, uint64_t from, uint64_t to, int out = STDOUT_FILENO) const {
    return ChildProcess([&] {
      dup2(out, STDOUT_FILENO);
      execl(HSHM_PROGRAM_FILE_HEAP_PROGRAM, "file_heap_program", path_.c_str(), what,
            std::to_string(from).c_str(), std::to_string(to).c_str(), static_cast<char*>(nullptr));
      return 127;
    });
  }
  int Run(const char* what, uint64_t from, uint64_t to) const {
    return Start(what, from, to).Wait();
  }

  std::string path_;
};

/**
 * Starts a writer of keys from `from` on, and kills it once it has said `count` of them and some
 * time has passed. @return the number of keys that it has said
 */
uint64_t WriteUntilKilled(const HeapFile& file, uint64_t from, uint64_t count) {
  int ends[2];
  REQUIRE(pipe(ends) == 0);
  ChildProcess writer = file.Start("write", from, from + 1'000'000, ends[1]);
  close(ends[1]);
  uint64_t last = from - 1;
  for (uint64_t i = 0; i < count; ++i) REQUIRE(read(ends[0], &last, sizeof(last)) == sizeof(last));
  writer.Signal(SIGKILL);
  while (read(ends[0], &last, sizeof(last)) == sizeof(last)) {}
  close(ends[0]);
  REQUIRE(writer.Wait() == -SIGKILL);
  return last + 1 - from;
}

TEST_CASE("A heap in a file gives the next job the map of the one before, also after kill -9") {
  const uint32_t seed = std::random_device{}();
  CAPTURE(seed);
  std::mt19937 random(seed);
  const HeapFile file;
  REQUIRE(file.Run("create", 0, 0) == 0);
  REQUIRE(file.Run("read", 1, 1) == 0);
  REQUIRE(file.Run("create", 0, 0) == 100 + static_cast<int>(ErrorCode::kAlreadyExists));
  uint64_t next = 1;
  for (int job = 0; job < 6; ++job) {
    next += WriteUntilKilled(file, next, 1 + random() % 2000);
    REQUIRE(file.Run("read", 1, next) == 0);
  }
  REQUIRE(std::filesystem::file_size(file.path_) > 1 << 20);  // it has grown on the way
}

}  // namespace
}  // namespace hshm::test
