/**
 * Eight processes on one heap, two bound to the CPUs of each of four NUMA nodes as a launcher binds
 * ranks: does every page of theirs lie on their node? Each is on another node's CPUs when it takes
 * its memory, because without any wish memory lies where the CPU is that takes it. Where a page
 * lies the kernel says (move_pages), not hshm.
 *
 * Runs on a machine of four nodes, such as that of run_in_qemu.py; ends with 77 on others.
 */
#include <sys/syscall.h>

#include <cstring>
#include <exception>
#include <utility>

#include "hermes_shm/base/units.h"
#include "hermes_shm/memory/allocator/auto_units.h"
#include "hermes_shm/memory/allocator/multi_process_allocator.h"
#include "hermes_shm/memory/backend/posix_shm_mmap.h"
#include "hermes_shm/platform/memory_placement.h"
#include "hermes_shm/platform/page.h"
#include "hermes_shm/platform/shared_memory.h"
#include "numa/rank_processes.h"

namespace hshm::test {
namespace {

using ipc::MultiProcessAllocator;
using ipc::MultiProcessOptions;
using ipc::OffsetPtr;
using ipc::OnDeath;
using Root = ipc::multi_process::RootTier<ipc::multi_process::LargePages>;
using ipc::multi_process::HeadWord;

constexpr uint64_t kRegion = 96_MiB;
constexpr uint64_t kUnit = 2_MiB;
constexpr uint64_t kLarge = 3_MiB;
constexpr uint32_t kKilledRank = kRanks - 1;
constexpr int kSkipped = 77;

/** Pages of a range that the kernel says are not on the node. Touches all: they must be there. */
uint64_t PagesNotOn(const char* begin, uint64_t size_bytes, int kernel_node) {
  const uint64_t page_bytes = SystemPageBytes();
  const auto address = reinterpret_cast<uintptr_t>(begin);
  std::vector<void*> pages;
  for (uintptr_t page = address / page_bytes * page_bytes; page < address + size_bytes;
       page += page_bytes) {
    pages.push_back(reinterpret_cast<void*>(page));
    static_cast<void>(*static_cast<volatile char*>(pages.back()));
  }
  std::vector<int> nodes(pages.size(), -1);
  if (syscall(SYS_move_pages, 0, pages.size(), pages.data(), nullptr, nodes.data(), 0) != 0) {
    return pages.size();
  }
  uint64_t wrong = 0;
  for (const int node : nodes) wrong += node != kernel_node;
  return wrong;
}

/** One rank: its part of the machine, its view of the heap, its blocks. */
class Rank {
 public:
  Rank(Board* board, uint32_t rank)
      : board_(board), rank_(rank), nodes_(KernelNodes()), node_(rank / (kRanks / kMachineNodes)) {
    RunOn(nodes_[node_]);
  }

  /** The heap, by the choice of AutoUnits from what hwloc sees. */
  void Join(const std::string& name) {
    const Topology topology = DiscoverTopology();
    Must(topology.node_count_ == kMachineNodes, "hwloc sees four nodes");
    Must(topology.usable_nodes_.Count() == 1, "a rank is bound inside one node");
    board_->usable_nodes_[rank_] = topology.usable_nodes_;
    if (rank_ == 0) backend_.shm_init(ipc::MemoryBackendId(1), kRegion, name);
    Barrier(board_);
    if (rank_ != 0) backend_.shm_attach(name);
    ipc::UnitRequest request;
    request.region_bytes_ = kRegion;
    request.local_rank_ = rank_;
    request.node_count_ = topology.node_count_;
    request.usable_nodes_ = board_->usable_nodes_;
    request.asked_.process_unit_bytes_ = kUnit;
    const ipc::UnitChoice choice = ipc::AutoUnits(request);
    Must(choice.node_ == node_, "AutoUnits chooses the node of the rank's CPUs");
    Must(choice.ranks_on_node_ == 2, "two ranks share a node");
    options_ = choice.options_;
    std::printf("numa_ranks: %s\n", choice.Describe().c_str());
    if (rank_ == 0) {
      alloc_ = backend_.MakeAlloc<MultiProcessAllocator>(ipc::AllocatorId(1, 1), 0, options_);
      NoteSlot();
    }
    Barrier(board_);
    if (rank_ != 0) Attach();
    Barrier(board_);
    if (rank_ == 0) backend_.Unlink();
  }

  /** Takes and touches several units and a large block, from the CPUs of another node. */
  void TakeMemory() {
    RunOn(nodes_[(node_ + 1 + rank_ % 3) % kMachineNodes]);
    for (uint64_t taken = 0; taken < 2 * kUnit;) {
      for (const uint64_t size : std::initializer_list<uint64_t>{48, 3000, 50_KiB, 300_KiB}) {
        Allocate(size);
        taken += size;
      }
    }
    Allocate(kLarge);
    const ipc::UnitPlacement placement = alloc_->GetPlacement();
    Must(placement.node_ == options_.numa_node_, "the allocator has the rank's node");
    Must(placement.placed_bytes_ >= 2 * kUnit + kLarge, "all that was granted was placed");
    Must(placement.refused_bytes_ == 0, "the system refused no wish");
  }

  /** Every page of the rank's blocks lies on its node; Locate says the same. */
  void CheckBlocks() {
    const int kernel_node = nodes_[options_.numa_node_].number_;
    MemoryPlacer placer;
    for (const auto& [block, size] : blocks_) {
      const char* bytes = alloc_->GetRegion().base_ + block.load();
      const uint64_t wrong = PagesNotOn(bytes, size, kernel_node);
      Must(wrong == 0, "no page lies elsewhere, of " + std::to_string(wrong) + " of a block of " +
                           std::to_string(size) + " bytes");
      if (size < kLarge) continue;
      const MemoryLocation location = placer.Locate(bytes, size);
      Must(location.bytes_on_node_[options_.numa_node_] >= size, "Locate finds the block");
      Must(location.bytes_absent_ + location.bytes_elsewhere_ == 0, "Locate finds it all");
    }
  }

  /** Every page that has memory of every unit and large block lies on its process's node. */
  void CheckUnits() {
    const ipc::Region region = alloc_->GetRegion();
    const auto* header =
        region.At<ipc::AllocatorHeader>(ipc::AllocatorOffsetFor(region.size_bytes_));
    const Root root(region, header->core_offset_, nullptr);
    uint64_t checked = 0;
    root.ForEachHead([&](uint32_t granule, uint32_t word) {
      const uint32_t node = board_->node_of_slot_[HeadWord::SlotPlusOne(word) - 1];
      const uint32_t end = root.FirstPageOf(granule + HeadWord::Granules(word));
      for (uint32_t page = root.FirstPageOf(granule); page < end; ++page) {
        if (root.pages().Entry(page)->committed_.Get() == 0) continue;
        const char* bytes = region.base_ + Pages::OffsetOf(page);
        Must(PagesNotOn(bytes, Pages::OffsetOf(1), nodes_[node].number_) == 0,
             "page " + std::to_string(page) + " of a unit lies on node " + std::to_string(node));
        ++checked;
      }
      return true;
    });
    const uint64_t expected = kRanks * (2 * kUnit + kLarge) / Pages::OffsetOf(1);
    Must(checked >= expected, "the units of all ranks were looked at");
    std::printf("numa_ranks: %llu KiB of units and large blocks lie on their ranks' nodes\n",
                static_cast<unsigned long long>(checked * Pages::OffsetOf(1) / 1024));
  }

  /** Leaves, and joins anew with another node. */
  void Rejoin(uint32_t node) {
    Leave();
    Barrier(board_);
    AttachAgain(OnDeath::kKeepLive, node);
    Barrier(board_);
  }

  void AttachAgain(OnDeath on_death, uint32_t node) {
    options_.on_death_ = on_death;
    options_.numa_node_ = node;
    Attach();
  }

  void Leave() {
    blocks_.clear();
    alloc_->shm_detach();  // deletes its blocks; its units go back to the root
    backend_.DestroyAlloc(std::exchange(alloc_, nullptr));
  }

  /** After the death of a rank that had memory: all that is left, without a node, from here. */
  void TakeTheRest() {
    while (alloc_->Recover() == 0) sched_yield();  // until it is dead
    RunOn(nodes_[2]);
    uint64_t count = 0;
    for (;; ++count) {
      const OffsetPtr<> block = alloc_->AllocateOffset(HSHM_DEFAULT_MEM_CTX, kUnit);
      if (block.IsNull()) break;
      char* bytes = alloc_->GetRegion().base_ + block.load();
      std::memset(bytes, 1, kUnit);
      Must(PagesNotOn(bytes, kUnit, nodes_[2].number_) == 0,
           "memory that the dead rank had lies where it is taken by one without a node");
    }
    Must(count * kUnit > kRegion / 10 * 8, "the region was taken");
    std::printf("numa_ranks: no wish was left in %llu KiB that were given back\n",
                static_cast<unsigned long long>(count * kUnit / 1024));
  }

 private:
  using Pages = ipc::multi_process::PageTable<ipc::multi_process::LargePages>;

  void Must(bool condition, const std::string& claim) { Expect(rank_, condition, claim); }

  void Attach() {
    alloc_ = backend_.AttachAlloc<MultiProcessAllocator>(options_);
    NoteSlot();
  }

  void NoteSlot() { board_->node_of_slot_[alloc_->GetMembership().slot()] = options_.numa_node_; }

  void Allocate(uint64_t size) {
    const OffsetPtr<> block = alloc_->AllocateOffset(HSHM_DEFAULT_MEM_CTX, size);
    Must(!block.IsNull(), "there is room for " + std::to_string(size) + " bytes");
    std::memset(alloc_->GetRegion().base_ + block.load(), 1, size);
    blocks_.emplace_back(block, size);
  }

  Board* board_;
  uint32_t rank_;
  std::vector<KernelNode> nodes_;
  uint32_t node_;
  ipc::PosixShmMmap backend_;
  MultiProcessAllocator* alloc_ = nullptr;
  MultiProcessOptions options_;
  std::vector<std::pair<OffsetPtr<>, uint64_t>> blocks_;
};

void TakeAndCheck(Board* board, Rank* rank, bool is_checker) {
  rank->TakeMemory();
  rank->CheckBlocks();
  Barrier(board);
  if (is_checker) rank->CheckUnits();
  Barrier(board);
}

/** A rank whose memory goes at its death dies; another one without a node takes all there is. */
void Die(Board* board, Rank* rank, uint32_t number) {
  rank->Leave();
  Barrier(board);
  if (number == kKilledRank) {
    rank->AttachAgain(OnDeath::kReclaim, number / (kRanks / kMachineNodes));
    rank->TakeMemory();
  } else if (number == 0) {
    rank->AttachAgain(OnDeath::kKeepLive, ipc::kAnyNode);
  }
  Barrier(board);
  if (number == kKilledRank) raise(SIGKILL);
  if (number == 0) rank->TakeTheRest();
}

void Run(Board* board, uint32_t number, const std::string& name) {
  try {
    Rank rank(board, number);
    rank.Join(name);
    TakeAndCheck(board, &rank, number == 0);
    // The same memory in other hands, and then in the first ones again.
    const uint32_t node = number / (kRanks / kMachineNodes);
    rank.Rejoin((node + 1) % kMachineNodes);
    TakeAndCheck(board, &rank, number == 0);
    rank.Rejoin(node);
    TakeAndCheck(board, &rank, number == 0);
    Die(board, &rank, number);
  } catch (const std::exception& error) {
    Expect(number, false, error.what());
  }
}

}  // namespace
}  // namespace hshm::test

int main() {
  using namespace hshm::test;
  const size_t nodes = KernelNodes().size();
  if (nodes != kMachineNodes) {
    std::printf("numa_ranks: skipped: this machine has %zu NUMA nodes, not 4\n", nodes);
    return kSkipped;
  }
  Board* board = MakeBoard();
  const std::string name = "hshm-numa-ranks-" + std::to_string(getpid());
  const bool is_right = RunRanks(kKilledRank, [&](uint32_t rank) { Run(board, rank, name); });
  unlink((hshm::SharedMemoryDirectory() + "/" + name).c_str());  // where rank 0 did not
  if (is_right) std::printf("numa_ranks: all %u ranks ok\n", kRanks);
  return is_right ? 0 : 1;
}
