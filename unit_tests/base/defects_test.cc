#include "hermes_shm/base/defects.h"

#include <functional>
#include <string>

#include "hermes_shm/base/check.h"
#include "support/catch.h"
#include "support/child_process.h"

namespace defect = hshm::defect;

namespace {

/** What a process says that ends in body(); empty unless it ends by abort with exactly one line. */
std::string LastWords(const std::function<void()>& body) {
  const auto ending = hshm::test::RunInChild(body);
  if (ending.status_ != -SIGABRT) return "";
  if (ending.errors_.find('\n') + 1 != ending.errors_.size()) return "";
  return ending.errors_;
}

}  // namespace

TEST_CASE("Each defect ends the process with its name and what was given") {
  CHECK(LastWords([] { defect::NullFree("FreeOffset"); }) ==
        "hshm: NullFree: FreeOffset was given the null offset.\n");
  CHECK(LastWords([] { defect::ForeignPointer("Free", ~uint64_t{0}, 4096); }) ==
        "hshm: ForeignPointer: Free was given offset -1, which is not in the data of this region "
        "of 4096 bytes.\n");
  CHECK(LastWords([] { defect::InvalidFree("Free", 24); }) ==
        "hshm: InvalidFree: Free was given offset 24, where no allocated block begins.\n");
  CHECK(LastWords([] { defect::DoubleFree("Free", 32); }) ==
        "hshm: DoubleFree: Free was given offset 32, a block that is free already.\n");
  CHECK(LastWords([] { defect::BadAlignment("AlignedAllocate", 3); }) ==
        "hshm: BadAlignment: AlignedAllocate was asked for alignment 3, which is not a power of "
        "two.\n");
  CHECK(LastWords([] { defect::Corruption("a page entry", 64); }) ==
        "hshm: Corruption: a page entry at offset 64 cannot be right: memory was overwritten, or a "
        "block was freed twice.\n");
  CHECK(LastWords([] { defect::NotTheHolder("Mutex::Unlock", 0x2003); }) ==
        "hshm: NotTheHolder: Mutex::Unlock on what this process does not hold (word "
        "0x2003).\n");
  CHECK(LastWords([] { defect::NotAttached("Allocate"); }) ==
        "hshm: NotAttached: Allocate on an allocator that is not attached to a region.\n");
  CHECK(
      LastWords([] { defect::OverlappingBlock("Allocate", 48); }) ==
      "hshm: OverlappingBlock: Allocate met offset 48, a block that a user has: a freed block was "
      "written to, or freed twice at one moment.\n");
  CHECK(LastWords([] { defect::WrongSize("operator delete", 48, 200, 112); }) ==
        "hshm: WrongSize: operator delete of 200 bytes was given offset 48, a block of 112 bytes, "
        "which was asked for with another size.\n");
  CHECK(LastWords([] { defect::ClosedArena("Free", 12); }) ==
        "hshm: ClosedArena: Free was given the context of arena 12, which is not open: it was "
        "popped, or is another handle's.\n");
}

TEST_CASE("A defect's line ends properly although its text does not fit") {
  const std::string long_name(5000, 'x');
  const auto ending = hshm::test::RunInChild([&] { defect::NullFree(long_name.c_str()); });
  CHECK(ending.status_ == -SIGABRT);
  CHECK(ending.errors_.find("hshm: NullFree: xxx") == 0);
  CHECK(ending.errors_.size() < 1000);
  CHECK(ending.errors_.back() == '\n');
}

TEST_CASE("HSHM_CHECK names the condition and its place, and lets a true one pass") {
  const std::string words = LastWords([] { HSHM_CHECK(1 + 1 == 3); });
  CHECK(words.find("hshm: CHECK failed: 1 + 1 == 3 (") == 0);
  CHECK(words.find("defects_test.cc:") != std::string::npos);
  CHECK(hshm::test::RunInChild([] { HSHM_CHECK(1 + 1 == 2); }).status_ == 0);
}
