/** What fails on one rank fails on all, in the same words, and leaves nothing behind. */
#include <sys/resource.h>
#include <unistd.h>

#include <fstream>

#include "hermes_shm/mpi/node_heap.h"
#include "support.h"

namespace {

using hshm::Error;
using hshm::ErrorCode;
using hshm::ErrorCodeName;
using hshm::mpi::NodeHeap;
using hshm::mpi::NodeHeapOptions;
using namespace mpi_test;

/** How setting up went: the error and its whole text, or kNone. */
struct Attempt {
  explicit Attempt(const NodeHeapOptions& options) {
    try {
      NodeHeap heap(MPI_COMM_WORLD, options);
      heap.Close();
    } catch (const Error& error) {
      code_ = error.code();
      text_ = error.what();
    }
  }

  ErrorCode code_ = ErrorCode::kNone;
  std::string text_;
};

/** All ranks must have got `expected` from rank `culprit`, with `part` in the sentence. */
void ExpectFailure(const World& world, const Segments& segments, const Attempt& attempt,
                   ErrorCode expected, int culprit, const std::string& part) {
  const std::string start = std::string("hshm: ") + ErrorCodeName(expected) + ": rank " +
                            std::to_string(culprit) + " of " + std::to_string(world.size()) +
                            " on host ";
  if (attempt.text_.rfind(start, 0) != 0 || attempt.text_.find(part) == std::string::npos) {
    Fail(__FILE__, __LINE__,
         "expected '" + start + "...' with '" + part + "', got '" + attempt.text_ + "'");
  }
  MPI_CHECK(attempt.code_ == expected);
  MPI_CHECK(AllSay(attempt.text_));
  MPI_CHECK(segments.Count() == 0);
  world.Barrier();
}

NodeHeapOptions Options(const Segments& segments, const std::string& suffix) {
  NodeHeapOptions options;
  options.url_ = segments.Name(suffix);
  options.capacity_bytes_ = 64_MiB;
  return options;
}

void TestLeaderHasNoSpace(const World& world, const Segments& segments) {
  hshm::FileSystemRoom room;
  MPI_CHECK(hshm::RoomOf(hshm::SharedMemoryDirectory(), &room) == 0);
  NodeHeapOptions options = Options(segments, "large");
  options.capacity_bytes_ = room.total_bytes_ + 1_GiB;
  ExpectFailure(world, segments, Attempt(options), ErrorCode::kNoSpace, 0,
                hshm::SharedMemoryDirectory());
}

void TestLeaderHasBadArguments(const World& world, const Segments& segments) {
  NodeHeapOptions options = Options(segments, "");
  options.url_ = "a/b";
  ExpectFailure(world, segments, Attempt(options), ErrorCode::kBadName, 0, "a/b");
  options = Options(segments, "header");
  options.custom_header_bytes_ = 128_MiB;
  ExpectFailure(world, segments, Attempt(options), ErrorCode::kOutOfRange, 0, "");
}

/** Sizes that no heap can have, and a file where no directory is. */
void TestLeaderHasBadSizeOrPlace(const World& world, const Segments& segments) {
  NodeHeapOptions options = Options(segments, "small");
  options.capacity_bytes_ = 4_KiB;
  ExpectFailure(world, segments, Attempt(options), ErrorCode::kOutOfRange, 0,
                "the smallest is 262144 bytes");
  options = Options(segments, "shrinking");
  options.max_capacity_bytes_ = 32_MiB;
  ExpectFailure(world, segments, Attempt(options), ErrorCode::kOutOfRange, 0,
                "max_size_bytes_ must be 0 or at least the size");
  options = Options(segments, "");
  const std::string missing = "/tmp/" + segments.Name("missing");
  options.url_ = missing + "/heap";
  ExpectFailure(world, segments, Attempt(options), ErrorCode::kNotFound, 0, missing);
}

/** One follower names a NUMA node that no machine has. */
void TestFollowerNamesNoNode(const World& world, const Segments& segments, int victim) {
  NodeHeapOptions options = Options(segments, "node");
  if (world.rank() == victim) options.numa_node_ = hshm::kMaxNumaNodes;
  ExpectFailure(world, segments, Attempt(options), ErrorCode::kOutOfRange, victim,
                "Units on NUMA node 1024 were asked for");
}

/** A living segment of the same name is left alone. */
void TestNameIsTaken(const World& world, const Segments& segments) {
  NodeHeapOptions options = Options(segments, "taken");
  options.unlink_after_attach_ = false;
  NodeHeap living(MPI_COMM_WORLD, options);
  const Attempt attempt(options);
  MPI_CHECK(attempt.code_ == ErrorCode::kAlreadyExists);
  MPI_CHECK(AllSay(attempt.text_));
  MPI_CHECK(segments.Count() == 1);
  MPI_CHECK(!living->Allocate(HSHM_DEFAULT_MEM_CTX, 100).IsNull());
  world.Barrier();
  living.Close();
  world.Barrier();
  MPI_CHECK(segments.Count() == 0);
}

/** Sets up while one rank has a limit lowered. */
Attempt AttemptWithLimit(const NodeHeapOptions& options, bool is_mine, __rlimit_resource resource,
                         rlim_t value) {
  rlimit former{};
  MPI_CHECK(getrlimit(resource, &former) == 0);
  const rlimit lowered{value, former.rlim_max};
  if (is_mine) MPI_CHECK(setrlimit(resource, &lowered) == 0);
  Attempt attempt(options);
  MPI_CHECK(setrlimit(resource, &former) == 0);
  return attempt;
}

rlim_t MappedBytes() {
  size_t pages = 0;
  std::ifstream("/proc/self/statm") >> pages;
  return pages * static_cast<size_t>(sysconf(_SC_PAGESIZE));
}

/** One follower has no address space for the mapping. */
void TestFollowerCannotMap(const World& world, const Segments& segments, int victim) {
  NodeHeapOptions options = Options(segments, "map");
  options.capacity_bytes_ = 2_GiB;
  const Attempt attempt =
      AttemptWithLimit(options, world.rank() == victim, RLIMIT_AS, MappedBytes() + 1_GiB);
  ExpectFailure(world, segments, attempt, ErrorCode::kSystem, victim, options.url_);
}

/** One follower has no file descriptor left. */
void TestFollowerCannotOpen(const World& world, const Segments& segments, int victim) {
  const NodeHeapOptions options = Options(segments, "open");
  const int lowest_free = dup(STDERR_FILENO);
  close(lowest_free);
  const Attempt attempt = AttemptWithLimit(options, world.rank() == victim, RLIMIT_NOFILE,
                                           static_cast<rlim_t>(lowest_free));
  ExpectFailure(world, segments, attempt, ErrorCode::kFdLimit, victim, options.url_);
}

/** One follower looks for the segment in another directory, as in another container. */
void TestFollowerSeesOtherDirectory(const World& world, const Segments& segments, int victim) {
  const NodeHeapOptions options = Options(segments, "place");
  char directory[] = "/tmp/hshm_place_XXXXXX";
  const bool is_mine = world.rank() == victim;
  if (is_mine) {
    MPI_CHECK(mkdtemp(directory) != nullptr);
    setenv("HSHM_SHM_DIR", directory, 1);
  }
  ExpectFailure(world, segments, Attempt(options), ErrorCode::kNotFound, victim, "finds nothing");
  {
    hshm::ipc::PosixShmMmap other;  // of the same name, in the wrong directory
    if (is_mine) other.shm_init(hshm::ipc::MemoryBackendId::Get(1), 1_MiB, options.url_);
    const Attempt attempt(options);
    MPI_CHECK(attempt.code_ == ErrorCode::kNotFound);
    MPI_CHECK(attempt.text_.find("another segment") != std::string::npos);
    MPI_CHECK(AllSay(attempt.text_));
    other.shm_destroy();
  }
  if (is_mine) {
    unsetenv("HSHM_SHM_DIR");
    MPI_CHECK(rmdir(directory) == 0);
  }
}

void ExpectRefused(MPI_Comm comm, ErrorCode expected, const std::string& part) {
  try {
    const NodeHeap heap(comm);
    MPI_CHECK(!"the communicator was accepted");
  } catch (const Error& error) {
    MPI_CHECK(error.code() == expected);
    MPI_CHECK(std::string(error.what()).find(part) != std::string::npos);
  }
}

void TestUnusableCommunicator(const World& world, const Segments& segments) {
  ExpectRefused(MPI_COMM_NULL, ErrorCode::kOutOfRange, "MPI_COMM_NULL");

  // Rank 0 and all others, as two groups.
  MPI_Comm group = MPI_COMM_NULL;
  MPI_Comm inter = MPI_COMM_NULL;
  const bool is_first = world.rank() == 0;
  MPI_Comm_split(MPI_COMM_WORLD, is_first ? 0 : 1, world.rank(), &group);
  MPI_Intercomm_create(group, 0, MPI_COMM_WORLD, is_first ? 1 : 0, 0, &inter);
  ExpectRefused(inter, ErrorCode::kUnsupported, "MPI_Intercomm_merge");
  MPI_Comm_free(&inter);
  MPI_Comm_free(&group);
  MPI_CHECK(segments.Count() == 0);
  world.Barrier();
}

}  // namespace

int main(int argc, char** argv) {
  const World world(&argc, &argv);
  const Segments segments;
  const int last = world.size() - 1;
  TestLeaderHasNoSpace(world, segments);
  TestLeaderHasBadArguments(world, segments);
  TestLeaderHasBadSizeOrPlace(world, segments);
  TestNameIsTaken(world, segments);
  TestFollowerCannotMap(world, segments, 1);
  TestFollowerCannotMap(world, segments, last);
  TestFollowerCannotOpen(world, segments, last);
  TestFollowerSeesOtherDirectory(world, segments, last);
  TestFollowerNamesNoNode(world, segments, last);
  TestUnusableCommunicator(world, segments);

  NodeHeap heap(MPI_COMM_WORLD, Options(segments, "afterwards"));  // nothing was spoilt
  MPI_CHECK(!heap->Allocate(HSHM_DEFAULT_MEM_CTX, 100).IsNull());
  heap.Close();
  Done(world, "set_up_failures");
}
