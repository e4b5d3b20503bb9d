#include <algorithm>
#include <bit>

#include "hermes_shm/memory/allocator/multi_process/size_classes.h"
#include "support/catch.h"

namespace hshm::ipc::multi_process {
namespace {

constexpr uint64_t kMaxBytes = 65536;

TEST_CASE("A size class holds its sizes and wastes an eighth of a block at most") {
  for (uint64_t size = 0; size <= kMaxBytes; ++size) {
    const uint64_t bytes = ClassBytes(ClassOf(size));
    const uint64_t rounded = std::max<uint64_t>((size + 15) / 16 * 16, 16);
    if (bytes < size || (bytes - rounded) * 8 > bytes || bytes % 16 != 0) {
      CAPTURE(size, bytes);
      FAIL("the class does not fit its size");
    }
  }
}

TEST_CASE("Size classes grow without gaps, and each serves its own size") {
  for (uint32_t c = 0; c <= ClassOf(kMaxBytes); ++c) {
    CAPTURE(c);
    REQUIRE(ClassOf(ClassBytes(c)) == c);
    REQUIRE(ClassOf(ClassBytes(c) + 1) == c + 1);
    REQUIRE(ClassBytes(c) < ClassBytes(c + 1));
  }
}

TEST_CASE("A size that is a multiple of a power of two has a class that is one too") {
  for (uint64_t size = 16; size <= kMaxBytes; ++size) {
    const uint64_t alignment = size & (~size + 1);
    if (ClassBytes(ClassOf(size)) % alignment != 0) {
      CAPTURE(size, alignment);
      FAIL("a block of the class would lose the alignment of its size");
    }
  }
}

TEST_CASE("The class table and the class formula agree") {
  for (uint64_t size = 0; size <= kMaxBytes; ++size) {
    if (FastClassOf(size) != ClassOf(size)) {
      CAPTURE(size);
      FAIL("table and formula differ");
    }
  }
}

}  // namespace
}  // namespace hshm::ipc::multi_process
