#include <algorithm>
#include <cstdio>
#include <memory_resource>
#include <string>
#include <unordered_map>

#include "data_structures/shared_segment.h"
#include "hermes_shm/data_structures/memory_resource.h"
#include "stl/rows.h"
#include "support/catch.h"
#include "support/child_process.h"

using hshm::ipc::MultiProcessAllocator;
using hshm::test::AttachedSegment;
using hshm::test::ChildProcess;
using hshm::test::Contents;
using hshm::test::MakeContainer;
using hshm::test::Rows;
using hshm::test::SharedSegment;

namespace {

constexpr uint64_t kSegmentBytes = uint64_t{64} << 20;

/** Runs stl_worker on the segment. @return its exit status */
int ChangeElsewhere(const std::string& url, const void* base) {
  char address[32];
  std::snprintf(address, sizeof(address), "%llx",
                static_cast<unsigned long long>(reinterpret_cast<uintptr_t>(base)));
  ChildProcess child([&] {
    execl(HSHM_PROGRAM_STL_WORKER, "stl_worker", url.c_str(), address, nullptr);
    return 127;
  });
  return child.Wait();
}

/** Words of the region that look like an address in it. */
uint64_t CountAddresses(const hshm::ipc::Region& region) {
  const auto* const words = reinterpret_cast<const uintptr_t*>(region.base_);
  const uint64_t count = region.size_bytes_ / sizeof(uintptr_t);
  return static_cast<uint64_t>(std::count_if(words, words + count, [&](uintptr_t word) {
    return region.Contains(reinterpret_cast<const void*>(word));
  }));
}

}  // namespace

TEST_CASE("Containers that one process built are read and changed by another at another address") {
  if (HSHM_TEST_HAS_BOOST == 0) WARN("Boost is not there: its containers are not tested");
  SharedSegment<MultiProcessAllocator> segment(kSegmentBytes);
  MultiProcessAllocator* const alloc = segment.alloc();
  const size_t before = alloc->GetCurrentlyAllocatedSize();
  Rows<MultiProcessAllocator>::ForEach([&]<typename Container>(const char* name) {
    Contents<Container>::Fill(*MakeContainer<Container>(alloc, name));
  });
  REQUIRE(ChangeElsewhere(segment.url(), alloc->GetRegion().base_) == 0);
  Rows<MultiProcessAllocator>::ForEach([&]<typename Container>(const char* name) {
    INFO(name);
    const auto found = alloc->FindRoot<Container>(name);
    CHECK(Contents<Container>::IsChanged(*found.ptr_));
    Contents<Container>::Change(*found.ptr_);  // it is of use afterwards
    alloc->DelObj(hshm::ipc::MemContext(), found);
  });
  REQUIRE(alloc->GetCurrentlyAllocatedSize() == before);
  REQUIRE(alloc->Check());
}

TEST_CASE("A region of shared containers holds no address of itself; one of a pmr container does") {
  SharedSegment<MultiProcessAllocator> segment(kSegmentBytes);
  MultiProcessAllocator* const alloc = segment.alloc();
  Rows<MultiProcessAllocator>::ForEach([&]<typename Container>(const char* name) {
    Contents<Container>::Fill(*MakeContainer<Container>(alloc, name));
    INFO(name);
    REQUIRE(CountAddresses(alloc->GetRegion()) == 0);
  });
  hshm::memory_resource resource(alloc);
  const std::pmr::unordered_map<int, int> counts({{1, 2}, {3, 4}}, 10, &resource);
  REQUIRE(CountAddresses(alloc->GetRegion()) != 0);
}
