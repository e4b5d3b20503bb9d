/** Node heaps that grow, that have no name, and that lie in a file that outlives the job. */
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include "hermes_shm/data_structures/unordered_map.h"
#include "hermes_shm/mpi/node_heap.h"
#include "support.h"

namespace {

using hshm::ipc::FullPtr;
using hshm::ipc::MultiProcessAllocator;
using hshm::ipc::OffsetPtr;
using hshm::mpi::NodeHeap;
using hshm::mpi::NodeHeapOptions;
using namespace mpi_test;
using Map = hshm::ipc::unordered_map<uint64_t, uint64_t, MultiProcessAllocator>;

/** Allocates, marks and frees a share of the heap in blocks of 1 MiB. */
void UseShare(NodeHeap& heap, uint64_t share_bytes, char mark) {
  std::vector<FullPtr<char>> blocks;
  for (uint64_t got = 0; got < share_bytes; got += 1_MiB) {
    blocks.push_back(heap->Allocate<char>(HSHM_DEFAULT_MEM_CTX, 1_MiB));
    MPI_CHECK(!blocks.back().IsNull());
    blocks.back().ptr_[0] = blocks.back().ptr_[1_MiB - 1] = mark;
  }
  for (const FullPtr<char>& block : blocks) {
    MPI_CHECK(block.ptr_[0] == mark && block.ptr_[1_MiB - 1] == mark);
    heap->Free(HSHM_DEFAULT_MEM_CTX, block);
  }
}

/** Where this process has mapped a file for writing, one address range a line. By its inode: the
 * leader's mapping is older than the name. */
std::string MappingsOf(const std::string& path) {
  struct stat status = {};
  MPI_CHECK(stat(path.c_str(), &status) == 0);
  const std::string inode = " " + std::to_string(status.st_ino) + " ";
  std::ifstream maps("/proc/self/maps");
  std::string ranges;
  for (std::string line; std::getline(maps, line);) {
    const bool is_data = line.find(" rw-s ") != std::string::npos;
    if (is_data && line.find(inode) != std::string::npos) {
      ranges += line.substr(0, line.find(' ')) + "\n";
    }
  }
  return ranges;
}

/** From 64 MiB to the capacity while all ranks allocate: none remaps, none sees an error.
 * HSHM_TEST_GROWTH_GIB=8 asks for the size that the library promises. */
void TestGrowth(const World& world, const Segments& segments) {
  const char* asked = std::getenv("HSHM_TEST_GROWTH_GIB");
  hshm::FileSystemRoom room;
  MPI_CHECK(hshm::RoomOf(hshm::SharedMemoryDirectory(), &room) == 0);
  uint64_t capacity = 512_MiB;
  if (asked != nullptr) capacity = std::strtoull(asked, nullptr, 10) << 30;
  while (asked == nullptr && capacity > 128_MiB && capacity > room.free_bytes_ / 2) capacity /= 2;
  NodeHeapOptions options;
  options.url_ = segments.Name("growing");
  options.capacity_bytes_ = 64_MiB;
  options.max_capacity_bytes_ = capacity;
  options.unlink_after_attach_ = false;
  NodeHeap heap(MPI_COMM_WORLD, options);
  MPI_CHECK(heap.backend().size_bytes() == capacity);
  const std::string path = hshm::SharedMemoryDirectory() + "/" + options.url_;
  MPI_CHECK(std::filesystem::file_size(path) >= 64_MiB);
  world.Barrier();
  const std::string mapped = MappingsOf(path);
  MPI_CHECK(std::count(mapped.begin(), mapped.end(), '\n') == 1);
  UseShare(heap, capacity / 4 * 3 / static_cast<uint64_t>(world.size()),
           static_cast<char>(world.rank() + 1));
  MPI_CHECK(MappingsOf(path) == mapped);
  world.Barrier();
  MPI_CHECK(std::filesystem::file_size(path) > capacity / 2);
  MPI_CHECK(std::filesystem::file_size(path) <= capacity);
  world.Barrier();
}

/** Nothing is to be seen in the shared-memory directory, and all ranks are in one heap. */
void TestUnnamed(const World& world, const Segments& segments) {
  NodeHeapOptions options;
  options.naming_ = hshm::ipc::Naming::kUnnamed;
  options.capacity_bytes_ = 64_MiB;
  NodeHeap heap(MPI_COMM_WORLD, options);
  MPI_CHECK(segments.Count() == 0);
  MPI_CHECK(heap.url().rfind("/proc/", 0) == 0);
  MPI_CHECK(AllSay(heap.url()));
  if (heap.is_leader()) MPI_CHECK(heap->SetRoot("n", heap->NewObj<int>(HSHM_DEFAULT_MEM_CTX, 7)));
  world.Barrier();
  MPI_CHECK(*heap->FindRoot<int>("n").ptr_ == 7);
  // A late one joins through any rank that is still there.
  hshm::ipc::PosixShmMmap late;
  late.shm_attach(world.rank() == 0 ? heap.url() : heap.backend().GetUrl());
  MPI_CHECK(*late.AttachAlloc<MultiProcessAllocator>()->FindRoot<int>("n").ptr_ == 7);
  world.Barrier();
}

NodeHeapOptions FileOptions(const std::string& path) {
  NodeHeapOptions options;
  options.url_ = path;
  options.capacity_bytes_ = 16_MiB;
  options.max_capacity_bytes_ = 64_MiB;
  return options;
}

constexpr uint64_t kKeys = 2000;

/** Two heaps one after the other in one file: the second finds what the ranks of the first put in.
 */
void TestFile(const World& world, const Segments& segments) {
  const std::string path =
      FromRank0(std::filesystem::temp_directory_path().string()) + "/" + segments.Name("file");
  {
    NodeHeap heap(MPI_COMM_WORLD, FileOptions(path));
    Map map;
    if (heap.is_leader()) {
      map.shm_init(heap.allocator());
      MPI_CHECK(heap->SetRoot("map", map.offset()));
    }
    world.Barrier();
    if (!heap.is_leader()) {
      map.shm_attach(heap.allocator(), OffsetPtr<>(heap->FindRoot<char>("map").shm_.off_.load()));
    }
    for (uint64_t key = 0; key < kKeys; ++key) {
      if (key % static_cast<uint64_t>(world.size()) != static_cast<uint64_t>(world.rank()))
        continue;
      MPI_CHECK(map.insert(key, key * key) == hshm::ipc::MapResult::kInserted);
    }
    world.Barrier();
  }
  world.Barrier();
  MPI_CHECK(std::filesystem::exists(path));
  {
    NodeHeap heap(MPI_COMM_WORLD, FileOptions(path));
    Map map;
    map.shm_attach(heap.allocator(), OffsetPtr<>(heap->FindRoot<char>("map").shm_.off_.load()));
    for (uint64_t key = 0; key < kKeys; ++key) MPI_CHECK(map.find(key) == key * key);
    MPI_CHECK(heap->Check());
    world.Barrier();
  }
  world.Barrier();
  if (world.rank() == 0) std::filesystem::remove(path);
}

}  // namespace

int main(int argc, char** argv) {
  const World world(&argc, &argv);
  const Segments segments;
  TestGrowth(world, segments);
  TestUnnamed(world, segments);
  TestFile(world, segments);
  world.Barrier();
  MPI_CHECK(segments.Count() == 0);
  Done(world, "heap_memory");
}
