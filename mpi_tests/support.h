#ifndef HSHM_MPI_TESTS_SUPPORT_H_
#define HSHM_MPI_TESTS_SUPPORT_H_

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "hermes_shm/base/error.h"
#include "hermes_shm/base/units.h"
#include "hermes_shm/mpi/mpi_c.h"
#include "hermes_shm/platform/process.h"
#include "hermes_shm/platform/shared_memory.h"

/** What all MPI tests share. A check that fails ends the whole job, so that nobody waits. */
namespace mpi_test {

using hshm::operator""_KiB;
using hshm::operator""_MiB;
using hshm::operator""_GiB;

[[noreturn]] inline void Fail(const char* file, int line, const std::string& what) {
  int rank = -1;
  MPI_Comm_rank(MPI_COMM_WORLD, &rank);
  std::fprintf(stderr, "rank %d: %s:%d: %s\n", rank, file, line, what.c_str());
  std::fflush(stderr);
  MPI_Abort(MPI_COMM_WORLD, 1);
  std::abort();
}

#define MPI_CHECK(condition)                                                             \
  do {                                                                                   \
    if (!(condition)) ::mpi_test::Fail(__FILE__, __LINE__, "check failed: " #condition); \
  } while (false)

/** MPI from Init to Finalize, on as many ranks as the test was started for. */
class World {
 public:
  World(int* argc, char*** argv) {
    MPI_Init(argc, argv);
    MPI_Comm_rank(MPI_COMM_WORLD, &rank_);
    MPI_Comm_size(MPI_COMM_WORLD, &size_);
    const char* expected = std::getenv("HSHM_EXPECT_RANKS");
    MPI_CHECK(expected == nullptr || size_ == std::atoi(expected));
  }
  ~World() { MPI_Finalize(); }
  World(const World&) = delete;
  World& operator=(const World&) = delete;

  int rank() const { return rank_; }
  int size() const { return size_; }
  int next() const { return (rank_ + 1) % size_; }
  int previous() const { return (rank_ + size_ - 1) % size_; }
  void Barrier() const { MPI_Barrier(MPI_COMM_WORLD); }

 private:
  int rank_ = 0;
  int size_ = 0;
};

/** What rank 0 says, on every rank of comm. */
inline std::string FromRank0(std::string text, MPI_Comm comm = MPI_COMM_WORLD) {
  int length = static_cast<int>(text.size());
  MPI_Bcast(&length, 1, MPI_INT, 0, comm);
  text.resize(static_cast<size_t>(length));
  MPI_Bcast(text.data(), length, MPI_CHAR, 0, comm);
  return text;
}

/** True on all ranks when all of them say the same. */
inline bool AllSay(const std::string& text) {
  int is_same = FromRank0(text) == text ? 1 : 0;
  MPI_Allreduce(MPI_IN_PLACE, &is_same, 1, MPI_INT, MPI_MIN, MPI_COMM_WORLD);
  return is_same == 1;
}

/**
 * The names of this run's segments. They begin with a prefix of their own, also those that a
 * NodeHeap makes up, for it counts as a job of the batch system.
 */
class Segments {
 public:
  Segments() {
    const char* named = std::getenv("HSHM_TEST_JOB");  // by the script that cleans up after it
    const std::string job =
        FromRank0(named != nullptr ? std::string(named)
                                   : "test" + std::to_string(hshm::ProcessId()) + "_" +
                                         std::to_string(hshm::StartTime(hshm::ProcessId())));
    setenv("SLURM_JOB_ID", job.c_str(), 1);
    prefix_ = "hshm-" + std::to_string(hshm::UserId()) + "-" + job;
  }

  std::string Name(const std::string& suffix) const { return prefix_ + "-" + suffix; }

  /** How many are in the shared-memory directory now. */
  size_t Count() const {
    size_t count = 0;
    for (const auto& entry : std::filesystem::directory_iterator(hshm::SharedMemoryDirectory())) {
      if (entry.path().filename().string().rfind(prefix_, 0) == 0) ++count;
    }
    return count;
  }

 private:
  std::string prefix_;
};

/** Fills a block so that Verify notices when another block overlaps it. */
inline void Fill(char* block, size_t size_bytes, uint64_t tag) {
  for (size_t i = 0; i < size_bytes; ++i)
    block[i] = static_cast<char>(tag * 131 + i * 7 + (i >> 8));
}
inline bool Verify(const char* block, size_t size_bytes, uint64_t tag) {
  for (size_t i = 0; i < size_bytes; ++i) {
    if (block[i] != static_cast<char>(tag * 131 + i * 7 + (i >> 8))) return false;
  }
  return true;
}

/** For the end of main: rank 0 says that the test got there. */
inline void Done(const World& world, const char* test) {
  world.Barrier();
  if (world.rank() == 0) std::printf("%s: ok on %d ranks\n", test, world.size());
}

}  // namespace mpi_test

#endif  // HSHM_MPI_TESTS_SUPPORT_H_
