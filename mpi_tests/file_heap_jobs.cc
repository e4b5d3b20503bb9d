/**
 * One of several jobs on a heap in a file; file_heap_jobs.sh starts them:
 *   file_heap_jobs write|write-until-killed|read FOLDER
 */
#include <fcntl.h>
#include <unistd.h>

#include <csignal>
#include <filesystem>
#include <fstream>
#include <string>

#include "hermes_shm/data_structures/unordered_map.h"
#include "hermes_shm/mpi/node_heap.h"
#include "support.h"

namespace {

using hshm::ipc::MultiProcessAllocator;
using hshm::ipc::OffsetPtr;
using hshm::mpi::NodeHeap;
using hshm::mpi::NodeHeapOptions;
using namespace mpi_test;
using Map = hshm::ipc::unordered_map<uint64_t, uint64_t, MultiProcessAllocator>;

constexpr uint64_t kKeysOfAJob = 3000;  // of each rank
constexpr uint64_t kKeysOfARank = 1'000'000;
constexpr uint64_t kDiesAfter = 700;
constexpr uint64_t kKeysOfTheOthers = 100'000;  // they insert meanwhile, until mpirun ends them

uint64_t ValueOf(uint64_t key) { return key * 0x9e3779b97f4a7c15 + 1; }

/** Keys that a rank has inserted, as it says after each: outlives its death, as the heap does. */
class Said {
 public:
  Said(const std::string& folder, int rank)
      : fd_(open((folder + "/said." + std::to_string(rank)).c_str(),
                 O_CREAT | O_APPEND | O_WRONLY | O_CLOEXEC, 0600)) {
    MPI_CHECK(fd_ >= 0);
  }
  ~Said() { close(fd_); }
  Said(const Said&) = delete;
  Said& operator=(const Said&) = delete;
  void Say(uint64_t key) const { MPI_CHECK(write(fd_, &key, sizeof(key)) == sizeof(key)); }

 private:
  int fd_;
};

NodeHeapOptions Options(const std::string& folder) {
  NodeHeapOptions options;
  options.url_ = folder + "/heap";
  options.capacity_bytes_ = 4_MiB;
  options.max_capacity_bytes_ = 256_MiB;
  return options;
}

/** The map of the jobs before, or a new one. */
void OpenMap(const World& world, NodeHeap& heap, Map* map) {
  if (heap.is_leader() && heap->FindRoot<char>("map").IsNull()) {
    Map made;
    made.shm_init(heap.allocator());
    MPI_CHECK(heap->SetRoot("map", made.offset()));
  }
  world.Barrier();
  map->shm_attach(heap.allocator(), OffsetPtr<>(heap->FindRoot<char>("map").shm_.off_.load()));
}

/** This rank's next keys. The last rank may be killed while all insert. */
void Write(const World& world, const std::string& folder, bool is_killed) {
  NodeHeap heap(MPI_COMM_WORLD, Options(folder));
  Map map;
  OpenMap(world, heap, &map);
  const Said said(folder, world.rank());
  uint64_t key = static_cast<uint64_t>(world.rank()) * kKeysOfARank;
  while (map.contains(key)) ++key;
  const uint64_t end = key + (is_killed ? kKeysOfTheOthers : kKeysOfAJob);
  for (uint64_t count = 1; key < end; ++key, ++count) {
    MPI_CHECK(map.insert(key, ValueOf(key)) == hshm::ipc::MapResult::kInserted);
    said.Say(key);
    const bool is_victim = is_killed && world.rank() == world.size() - 1;
    if (is_victim && count == kDiesAfter) raise(SIGKILL);
  }
}

/** All that was said is there, and beside it at most what a rank had not come to say. */
void Read(const World& world, const std::string& folder) {
  NodeHeap heap(MPI_COMM_WORLD, Options(folder));
  MPI_CHECK(heap.backend().size_bytes() == 256_MiB);
  Map map;
  OpenMap(world, heap, &map);
  uint64_t said = 0;
  uint64_t writers = 0;
  for (const auto& entry : std::filesystem::directory_iterator(folder)) {
    if (entry.path().filename().string().rfind("said.", 0) != 0) continue;
    ++writers;
    std::ifstream keys(entry.path(), std::ios::binary);
    for (uint64_t key = 0; keys.read(reinterpret_cast<char*>(&key), sizeof(key)); ++said) {
      MPI_CHECK(map.find(key) == ValueOf(key));
    }
  }
  MPI_CHECK(writers >= 2);
  MPI_CHECK(said >= writers * kKeysOfAJob + kDiesAfter);
  MPI_CHECK(map.size() >= said && map.size() <= said + writers);
  world.Barrier();
  if (heap.is_leader()) MPI_CHECK(heap->Check());
  world.Barrier();
  // The heap of the dead can be used on.
  const uint64_t mine = 100 * kKeysOfARank + static_cast<uint64_t>(world.rank());
  MPI_CHECK(map.insert(mine, 7) == hshm::ipc::MapResult::kInserted);
  world.Barrier();
}

}  // namespace

int main(int argc, char** argv) {
  const World world(&argc, &argv);
  MPI_CHECK(argc == 3);
  const std::string what = argv[1];
  if (what == "read") {
    Read(world, argv[2]);
  } else {
    Write(world, argv[2], what == "write-until-killed");
  }
  Done(world, ("file_heap_jobs: " + what).c_str());
}
