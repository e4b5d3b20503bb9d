#include "hermes_shm/platform/memory_placement.h"

#include <algorithm>
#include <exception>
#include <memory>

#include "hermes_shm/base/bits.h"
#include "hermes_shm/platform/page.h"
#include "platform/machine_hwloc.h"
#include "platform/present_pages.h"

namespace hshm {

/** What a placer knows. Without nodes nothing is placed. Never changed once it is published. */
struct MemoryPlacer::Machine {
  TopologyHandle topology_;
  std::vector<hwloc_obj_t> nodes_;
};

namespace {

/** The whole system pages inside a range. */
struct WholePages {
  WholePages(void* base, uint64_t size_bytes) {
    const uint64_t page_bytes = SystemPageBytes();
    const auto address = reinterpret_cast<uintptr_t>(base);
    const uint64_t skipped = bits::AlignUp(address, page_bytes) - address;
    if (size_bytes <= skipped) return;
    begin_ = static_cast<char*>(base) + skipped;
    size_bytes_ = bits::AlignDown(size_bytes - skipped, page_bytes);
  }

  char* begin_ = nullptr;
  uint64_t size_bytes_ = 0;
};

bool SetPolicy(hwloc_topology_t topology, const WholePages& pages, hwloc_const_nodeset_t nodes,
               hwloc_membind_policy_t policy) {
  return hwloc_set_area_membind(topology, pages.begin_, pages.size_bytes_, nodes, policy,
                                HWLOC_MEMBIND_BYNODESET) == 0;
}

/** Counts pages by the node that they lie on. */
class PageCounter {
 public:
  PageCounter(hwloc_topology_t topology, MemoryLocation* location)
      : topology_(topology),
        is_this_machine_(hwloc_topology_is_thissystem(topology) != 0),
        nodes_(NodesWithCpus(topology)),
        found_(hwloc_bitmap_alloc()),
        location_(location) {
    if (found_ == nullptr) ThrowUnreadable("hwloc_bitmap_alloc");
    location->bytes_on_node_.resize(std::max<size_t>(nodes_.size(), 1));
  }

  /** Of pages that all have memory. Seldom do not all of them lie on one node. */
  void Count(const char* begin, uint64_t size_bytes) {
    const bool is_told =
        is_this_machine_ && hwloc_get_area_memlocation(topology_, begin, size_bytes, found_.get(),
                                                       HWLOC_MEMBIND_BYNODESET) == 0;
    if (!is_told) {
      location_->bytes_elsewhere_ += size_bytes;
      return;
    }
    const int nodes = hwloc_bitmap_weight(found_.get());
    if (nodes == 0) {
      location_->bytes_absent_ += size_bytes;  // gone again, or never mapped here
    } else if (nodes == 1) {
      *CounterOf(static_cast<unsigned>(hwloc_bitmap_first(found_.get()))) += size_bytes;
    } else {
      const uint64_t half = bits::AlignUp(size_bytes / 2, SystemPageBytes());
      Count(begin, half);
      Count(begin + half, size_bytes - half);
    }
  }

 private:
  uint64_t* CounterOf(unsigned os_index) {
    const hwloc_obj_t memory = hwloc_get_numanode_obj_by_os_index(topology_, os_index);
    for (size_t node = 0; memory != nullptr && node < nodes_.size(); ++node) {
      const bool is_beside_its_cpus = hwloc_bitmap_isequal(memory->cpuset, nodes_[node]->cpuset);
      if (is_beside_its_cpus) return &location_->bytes_on_node_[node];
    }
    return &location_->bytes_elsewhere_;
  }

  hwloc_topology_t topology_;
  bool is_this_machine_;
  std::vector<hwloc_obj_t> nodes_;
  Bitmap found_;
  MemoryLocation* location_;
};

}  // namespace

MemoryPlacer::~MemoryPlacer() {
  delete machine_.load(std::memory_order_acquire);  // pairs with GetMachine
}

/**
 * Several threads may look at once; the first to finish wins. No thread waits for another, for a
 * forked child may lack the one that it would wait for.
 */
const MemoryPlacer::Machine* MemoryPlacer::GetMachine() noexcept {
  const Machine* known = machine_.load(std::memory_order_acquire);  // pairs with the exchange
  if (known != nullptr) return known;
  try {
    auto found = std::make_unique<Machine>();
    try {
      found->topology_ = LoadMachine();
      if (hwloc_topology_is_thissystem(found->topology_.get()) != 0) {
        found->nodes_ = NodesWithCpus(found->topology_.get());
      }
    } catch (const std::exception&) {
      found->nodes_.clear();  // places nothing, and is not asked again
    }
    if (machine_.compare_exchange_strong(known, found.get(),
                                         std::memory_order_acq_rel,     // pairs with the load
                                         std::memory_order_acquire)) {  // pairs with the exchange
      known = found.release();
    }
    return known;
  } catch (const std::bad_alloc&) {
    return nullptr;
  }
}

/**
 * Linux keeps two notes of a wish, in the mapping and in the file, and mbind leaves the file as it
 * is when the mapping's note already says what is asked for. It may be out of date: another process
 * has changed the file since. So the mapping's note is first made to differ.
 */
bool MemoryPlacer::Place(void* base, uint64_t size_bytes, uint32_t node) noexcept {
  const Machine* machine = GetMachine();
  if (machine == nullptr || node >= machine->nodes_.size()) return false;
  const WholePages pages(base, size_bytes);
  if (pages.size_bytes_ == 0) return true;
  hwloc_topology_t topology = machine->topology_.get();
  return SetPolicy(topology, pages, hwloc_topology_get_topology_nodeset(topology),
                   HWLOC_MEMBIND_DEFAULT) &&
         SetPolicy(topology, pages, machine->nodes_[node]->nodeset, HWLOC_MEMBIND_BIND);
}

/** By way of another wish, as in Place: first touch, which names no node that could be refused. */
bool MemoryPlacer::Unplace(void* base, uint64_t size_bytes) noexcept {
  const Machine* machine = GetMachine();
  if (machine == nullptr || machine->nodes_.empty()) return false;
  const WholePages pages(base, size_bytes);
  if (pages.size_bytes_ == 0) return true;
  hwloc_topology_t topology = machine->topology_.get();
  const hwloc_const_nodeset_t all = hwloc_topology_get_topology_nodeset(topology);
  return SetPolicy(topology, pages, all, HWLOC_MEMBIND_FIRSTTOUCH) &&
         SetPolicy(topology, pages, all, HWLOC_MEMBIND_DEFAULT);
}

MemoryLocation MemoryPlacer::Locate(const void* base, uint64_t size_bytes) {
  const TopologyHandle topology = LoadMachine();  // Place hides that it could not be read
  MemoryLocation location;
  PageCounter counter(topology.get(), &location);
  const uint64_t absent = VisitPresentRuns(
      base, size_bytes, [&](const char* begin, uint64_t bytes) { counter.Count(begin, bytes); });
  location.bytes_absent_ += absent;
  return location;
}

}  // namespace hshm
