#include "hermes_shm/platform/private_pages.h"

#include <cerrno>

#include "hermes_shm/platform/forked.h"
#include "hermes_shm/platform/page.h"
#include "support/catch.h"
#include "support/child_process.h"

using hshm::ForkRule;
using hshm::PrivatePages;
using hshm::WipeOnForkPage;
using hshm::test::ChildProcess;

TEST_CASE("SystemPageBytes is a power of two of at least 4 KiB") {
  const uint64_t bytes = hshm::SystemPageBytes();
  CHECK(bytes >= 4096);
  CHECK((bytes & (bytes - 1)) == 0);
}

TEST_CASE("PrivatePages are zeroed, keep what is written and cost addresses only") {
  PrivatePages<uint64_t> pages;
  constexpr uint64_t kCount = uint64_t{1} << 32;  // 32 GiB
  REQUIRE(pages.Reserve(kCount) == 0);
  CHECK(pages.size() == kCount);
  CHECK(pages[0] == 0);
  CHECK(pages[kCount - 1] == 0);
  pages[kCount - 1] = 7;
  CHECK(pages.data()[kCount - 1] == 7);
  REQUIRE(pages.Reserve(10) == 0);
  CHECK(pages.size() == 10);
  CHECK(pages[9] == 0);
}

TEST_CASE("PrivatePages that do not fit fail and leave nothing") {
  PrivatePages<char> pages;
  REQUIRE(pages.Reserve(10) == 0);
  CHECK(pages.Reserve(uint64_t{1} << 62) == ENOMEM);
  CHECK(pages.data() == nullptr);
  CHECK(pages.size() == 0);
}

TEST_CASE("PrivatePages move without changing their address") {
  PrivatePages<int> pages;
  REQUIRE(pages.Reserve(1) == 0);
  pages[0] = 5;
  const int* address = pages.data();
  PrivatePages<int> moved(std::move(pages));
  CHECK(moved.data() == address);
  CHECK(moved[0] == 5);
  CHECK(pages.data() == nullptr);
}

TEST_CASE("WipeOnForkPage reads as zero in a forked child and is untouched in the parent") {
  struct Identity {
    uint32_t slot_plus_one_;
  };
  WipeOnForkPage<Identity> page;
  CHECK_FALSE(page.IsMapped());
  REQUIRE(page.Map() == 0);
  CHECK(page->slot_plus_one_ == 0);
  page->slot_plus_one_ = 4;
  PrivatePages<int> copied;
  REQUIRE(copied.Reserve(1, ForkRule::kCopy) == 0);
  copied[0] = 6;
  ChildProcess child([&] {
    if (page->slot_plus_one_ != 0) return 1;
    if (copied[0] != 6) return 2;
    page->slot_plus_one_ = 9;
    return 0;
  });
  CHECK(child.Wait() == 0);
  CHECK(page->slot_plus_one_ == 4);
}
