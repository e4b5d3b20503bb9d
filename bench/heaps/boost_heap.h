#ifndef HSHM_BENCH_HEAPS_BOOST_HEAP_H_
#define HSHM_BENCH_HEAPS_BOOST_HEAP_H_

#include <unistd.h>

#include <boost/interprocess/managed_shared_memory.hpp>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <new>
#include <string>

#include "loops/touch.h"

namespace hshm::bench {

namespace bip = boost::interprocess;

/** Boost.Interprocess: one mutex and a tree of free blocks (rbtree_best_fit). */
class BoostHeap {
 public:
  using Block = void*;

  explicit BoostHeap(bip::managed_shared_memory* segment) : segment_(segment) {}

  Block Allocate(size_t size_bytes) noexcept {
    return segment_->allocate(size_bytes, std::nothrow);
  }
  void Free(Block block) noexcept { segment_->deallocate(block); }
  static char* AddressOf(Block block) noexcept { return static_cast<char*>(block); }
  uint64_t ToWord(Block block) const noexcept {
    return static_cast<uint64_t>(segment_->get_handle_from_address(block));
  }
  Block FromWord(uint64_t word) const noexcept {
    return segment_->get_address_from_handle(
        static_cast<bip::managed_shared_memory::handle_t>(word));
  }

 private:
  bip::managed_shared_memory* segment_;
};
static_assert(Heap<BoostHeap>);

class BoostSegment {
 public:
  using HeapType = BoostHeap;
  static constexpr size_t kCapacityBytes = size_t{512} << 20;

  BoostSegment() {
    const std::string name = "hshm-bench-boost-" + std::to_string(getpid());
    segment_ = std::make_unique<bip::managed_shared_memory>(bip::create_only, name.c_str(),
                                                            kCapacityBytes);
    bip::shared_memory_object::remove(name.c_str());  // now, so that nothing can be left of it
  }
  HeapType NewHeap() { return HeapType(segment_.get()); }

 private:
  std::unique_ptr<bip::managed_shared_memory> segment_;
};

}  // namespace hshm::bench

#endif  // HSHM_BENCH_HEAPS_BOOST_HEAP_H_
