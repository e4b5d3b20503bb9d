#include "hermes_shm/platform/memory_placement.h"

#include <linux/mempolicy.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <numeric>

#include "hermes_shm/base/error.h"
#include "hermes_shm/platform/page.h"
#include "hermes_shm/platform/shared_memory.h"
#include "hermes_shm/platform/topology.h"
#include "support/catch.h"

/** What a wish changes, asked of the system itself; where pages then lie needs several nodes. */
namespace {

using hshm::FileDescriptor;
using hshm::FileStatus;
using hshm::MemoryLocation;
using hshm::MemoryPlacer;

constexpr uint64_t kPages = 64;

/** A file in memory without a name, mapped twice, as two processes would. */
class TwoMappings {
 public:
  TwoMappings() {
    REQUIRE(hshm::CreateUnnamedFile(hshm::SharedMemoryDirectory(), &file_) == 0);
    REQUIRE(hshm::SetFileBytes(file_.get(), bytes_) == 0);
    REQUIRE(hshm::MapShared(file_.get(), bytes_, nullptr, &first_) == 0);
    REQUIRE(hshm::MapShared(file_.get(), bytes_, nullptr, &second_) == 0);
  }
  ~TwoMappings() {
    hshm::UnmapShared(first_, bytes_);
    hshm::UnmapShared(second_, bytes_);
  }
  TwoMappings(const TwoMappings&) = delete;
  TwoMappings& operator=(const TwoMappings&) = delete;

  char* first(uint64_t page = 0) const { return first_ + page * page_; }
  char* second(uint64_t page = 0) const { return second_ + page * page_; }
  int fd() const { return file_.get(); }
  uint64_t bytes() const { return bytes_; }
  uint64_t page() const { return page_; }
  uint64_t CommittedBytes() const {
    FileStatus status;
    REQUIRE(hshm::StatusOfFile(file_.get(), &status) == 0);
    return status.committed_bytes_;
  }

 private:
  FileDescriptor file_;
  uint64_t page_ = hshm::SystemPageBytes();
  uint64_t bytes_ = kPages * page_;
  char* first_ = nullptr;
  char* second_ = nullptr;
};

/** Whether the system has a wish for the page, under whatever name the kernel keeps it. */
bool HasWish(const char* page) {
  int policy = -1;
  REQUIRE(syscall(SYS_get_mempolicy, &policy, nullptr, 0, page, MPOL_F_ADDR) == 0);
  return policy != MPOL_DEFAULT;
}

uint64_t SumOf(const MemoryLocation& location) {
  return std::accumulate(location.bytes_on_node_.begin(), location.bytes_on_node_.end(),
                         location.bytes_elsewhere_ + location.bytes_absent_);
}

/** Sets an environment variable for one test. */
class ScopedEnv {
 public:
  ScopedEnv(const char* name, const char* value) : name_(name) { setenv(name, value, 1); }
  ~ScopedEnv() { unsetenv(name_); }
  ScopedEnv(const ScopedEnv&) = delete;
  ScopedEnv& operator=(const ScopedEnv&) = delete;

 private:
  const char* name_;
};

}  // namespace

#if HSHM_HAVE_HWLOC

TEST_CASE("A placed range has the wish in whole pages, in every mapping of the file") {
  const TwoMappings memory;
  MemoryPlacer placer;
  REQUIRE(placer.Place(memory.first(10) + 1, 4 * memory.page(), 0));
  for (const char* base : {memory.first(), memory.second()}) {
    CHECK_FALSE(HasWish(base + 10 * memory.page()));
    CHECK(HasWish(base + 11 * memory.page()));
    CHECK(HasWish(base + 13 * memory.page()));
    CHECK_FALSE(HasWish(base + 14 * memory.page()));
  }
  REQUIRE(placer.Unplace(memory.first(), memory.bytes()));
  for (uint64_t page = 0; page < kPages; ++page) CHECK_FALSE(HasWish(memory.second(page)));
}

TEST_CASE("A range smaller than a page has no wish") {
  const TwoMappings memory;
  MemoryPlacer placer;
  CHECK(placer.Place(memory.first(3) + 1, memory.page() - 1, 0));
  CHECK(placer.Place(memory.first(3) + 1, 2 * memory.page() - 2, 0));
  CHECK(placer.Unplace(memory.first(3) + 1, 1));
  for (uint64_t page = 0; page < kPages; ++page) CHECK_FALSE(HasWish(memory.first(page)));
}

TEST_CASE("A wish is made and taken back although another process has changed it since") {
  const TwoMappings memory;
  MemoryPlacer one;
  MemoryPlacer other;
  for (int round = 0; round < 3; ++round) {
    REQUIRE(one.Place(memory.first(), memory.bytes(), 0));
    CHECK(HasWish(memory.first(5)));
    REQUIRE(other.Unplace(memory.second(), memory.bytes()));
    CHECK_FALSE(HasWish(memory.first(5)));
  }
  REQUIRE(other.Place(memory.second(), memory.bytes(), 0));
  CHECK(HasWish(memory.first(5)));
}

TEST_CASE("Nothing is placed on a node that is not there, nor on a simulated machine") {
  const TwoMappings memory;
  MemoryPlacer placer;
  CHECK_FALSE(placer.Place(memory.first(), memory.bytes(), hshm::DiscoverTopology().node_count_));
  const ScopedEnv env("HWLOC_SYNTHETIC", "node:4 core:2 pu:1");
  MemoryPlacer simulated;
  for (uint32_t node = 0; node < 5; ++node) {
    CHECK_FALSE(simulated.Place(memory.first(), memory.bytes(), node));
  }
  CHECK_FALSE(simulated.Unplace(memory.first(), memory.bytes()));
  for (uint64_t page = 0; page < kPages; ++page) CHECK_FALSE(HasWish(memory.first(page)));
  CHECK(simulated.Locate(memory.first(), memory.bytes()).bytes_on_node_ ==
        std::vector<uint64_t>(4, 0));
}

TEST_CASE("A range that is not mapped is refused") {
  const uint64_t page = hshm::SystemPageBytes();
  // The kernel's own: nothing of this process is ever mapped there.
  char* const nowhere = reinterpret_cast<char*>(~uintptr_t{0} - 4 * page + 1);
  unsigned char present = 0;
  REQUIRE(hshm::FindPresentPages(nowhere, 1, &present) == ENOMEM);
  MemoryPlacer placer;
  CHECK_FALSE(placer.Place(nowhere, page, 0));
  CHECK_FALSE(placer.Unplace(nowhere, page));
  CHECK_THROWS_AS(placer.Locate(nowhere, page), hshm::Error);
}

#else

TEST_CASE("Without hwloc nothing is placed") {
  const TwoMappings memory;
  MemoryPlacer placer;
  CHECK_FALSE(placer.Place(memory.first(), memory.bytes(), 0));
  CHECK_FALSE(placer.Unplace(memory.first(), memory.bytes()));
  CHECK_FALSE(HasWish(memory.first()));
}

#endif  // HSHM_HAVE_HWLOC

TEST_CASE("Locate finds what anyone has touched, and commits nothing") {
  const TwoMappings memory;
  MemoryPlacer placer;
  CHECK(placer.Locate(memory.first(), memory.bytes()).bytes_absent_ == memory.bytes());
  REQUIRE(hshm::CommitFile(memory.fd(), 0, 2 * memory.page()) == 0);
  for (uint64_t page : {1, 8, 9, 63}) *memory.second(page) = 1;
  const MemoryLocation location = placer.Locate(memory.first(), memory.bytes());
  CHECK(location.bytes_absent_ == memory.bytes() - 4 * memory.page());
  CHECK(location.bytes_elsewhere_ == 0);
  CHECK(SumOf(location) == memory.bytes());
  CHECK(memory.CommittedBytes() == 5 * memory.page());
}

TEST_CASE("Locate counts each page that the range touches once") {
  const TwoMappings memory;
  MemoryPlacer placer;
  CHECK(SumOf(placer.Locate(memory.first(2) + 100, 2 * memory.page())) == 3 * memory.page());
  CHECK(SumOf(placer.Locate(memory.first(2) + 100, 1)) == memory.page());
  CHECK(SumOf(placer.Locate(memory.first(2), 0)) == 0);
}

TEST_CASE("Locate says the same of private memory") {
  const uint64_t page = hshm::SystemPageBytes();
  const uint64_t bytes = 1500 * page;  // more than is looked at together
  void* const base =
      mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  REQUIRE(base != MAP_FAILED);
  madvise(base, bytes, MADV_NOHUGEPAGE);
  char* const bytes_of = static_cast<char*>(base);
  for (uint64_t i = 0; i < 1500; i += 2) bytes_of[i * page] = 1;
  MemoryPlacer placer;
  const MemoryLocation location = placer.Locate(base, bytes);
  CHECK(location.bytes_absent_ == bytes / 2);
  CHECK(location.bytes_elsewhere_ == 0);
  munmap(base, bytes);
}
