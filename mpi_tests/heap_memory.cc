/** Node heaps that grow, that have no name, and that lie in a file that outlives the job. */
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <random>
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

/** A block of this test: the first and the last 8 bytes are `mark_`. */
struct MarkedBlock {
  FullPtr<char> block_;
  size_t bytes_;
  uint64_t mark_;

  void Write() const {
    std::memcpy(block_.ptr_, &mark_, sizeof mark_);
    std::memcpy(block_.ptr_ + bytes_ - sizeof mark_, &mark_, sizeof mark_);
  }

  bool IsWhole() const {
    return std::memcmp(block_.ptr_, &mark_, sizeof mark_) == 0 &&
           std::memcmp(block_.ptr_ + bytes_ - sizeof mark_, &mark_, sizeof mark_) == 0;
  }
};

/** Blocks of 16 B to 16 MiB, as many of each power of two, until `share_bytes` are live. */
std::vector<MarkedBlock> Grow(const World& world, NodeHeap& heap, uint64_t share_bytes) {
  std::mt19937_64 random(static_cast<uint64_t>(world.rank()) + 1);
  std::uniform_real_distribution<double> exponent(4, 24);
  std::vector<MarkedBlock> blocks;
  for (uint64_t live = 0; live < share_bytes; live += blocks.back().bytes_) {
    const auto bytes = static_cast<size_t>(std::exp2(exponent(random)));
    blocks.push_back({heap->Allocate<char>(HSHM_DEFAULT_MEM_CTX, bytes), bytes, random()});
    MPI_CHECK(!blocks.back().block_.IsNull());
    blocks.back().Write();
  }
  return blocks;
}

/** @return bytes of memory that the file has: its size counts what lies between, too. */
uint64_t MemoryOf(const std::string& path) {
  struct stat status = {};
  MPI_CHECK(stat(path.c_str(), &status) == 0);
  return static_cast<uint64_t>(status.st_blocks) * 512;
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

/** From 64 MiB to a size that is live at once, all ranks allocating: none remaps, none sees an
 * error. HSHM_TEST_GROWTH_GIB=8 asks for the size that the library promises. */
void TestGrowth(const World& world, const Segments& segments) {
  const char* asked = std::getenv("HSHM_TEST_GROWTH_GIB");
  hshm::FileSystemRoom room;
  MPI_CHECK(hshm::RoomOf(hshm::SharedMemoryDirectory(), &room) == 0);
  uint64_t live_bytes = 512_MiB;
  if (asked != nullptr) live_bytes = std::strtoull(asked, nullptr, 10) << 30;
  while (asked == nullptr && live_bytes > 128_MiB && live_bytes > room.free_bytes_ / 2) {
    live_bytes /= 2;
  }
  NodeHeapOptions options;
  options.url_ = segments.Name("growing");
  options.capacity_bytes_ = 64_MiB;
  options.max_capacity_bytes_ = live_bytes * 2;  // Each rank's last block and unit may be unused.
  options.unlink_after_attach_ = false;
  NodeHeap heap(MPI_COMM_WORLD, options);
  MPI_CHECK(heap.backend().size_bytes() == live_bytes * 2);
  const std::string path = hshm::SharedMemoryDirectory() + "/" + options.url_;
  MPI_CHECK(MemoryOf(path) <= 64_MiB);
  world.Barrier();
  const std::string mapped = MappingsOf(path);
  MPI_CHECK(std::count(mapped.begin(), mapped.end(), '\n') == 1);
  const std::vector<MarkedBlock> blocks =
      Grow(world, heap, live_bytes / static_cast<uint64_t>(world.size()));
  world.Barrier();
  MPI_CHECK(MemoryOf(path) >= live_bytes);
  MPI_CHECK(MappingsOf(path) == mapped);
  for (const MarkedBlock& block : blocks) {
    MPI_CHECK(block.IsWhole());
    heap->Free(HSHM_DEFAULT_MEM_CTX, block.block_);
  }
  MPI_CHECK(MappingsOf(path) == mapped);
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
