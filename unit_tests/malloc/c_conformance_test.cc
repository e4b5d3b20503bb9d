#include <malloc.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>
#include <cstring>
#include <limits>
#include <set>
#include <vector>

#include "malloc/preloaded.h"
#include "support/catch.h"

using hshm::test::IsAligned;
using hshm::test::Opaque;

namespace {

constexpr size_t kTooLarge = static_cast<size_t>(std::numeric_limits<ptrdiff_t>::max()) + 1;

bool IsZero(const char* bytes, size_t count) {
  for (size_t i = 0; i < count; ++i) {
    if (bytes[i] != 0) return false;
  }
  return true;
}

}  // namespace

TEST_CASE("These tests run on libhshm_malloc") { REQUIRE(hshm::test::IsPreloaded()); }

TEST_CASE("malloc aligns every size to 16 bytes and gives at least what was asked") {
  for (size_t size = 0; size < 200000; size += 1 + size / 7) {
    auto* block = static_cast<char*>(Opaque(malloc(size)));
    REQUIRE(block != nullptr);
    REQUIRE(IsAligned(block, 16));
    REQUIRE(malloc_usable_size(block) >= size);
    std::memset(block, 0x5a, malloc_usable_size(block));
    free(block);
  }
}

TEST_CASE("malloc(0) gives unique blocks that can be freed") {
  std::set<void*> blocks;
  for (int i = 0; i < 1000; ++i) {
    void* block = Opaque(malloc(0));
    REQUIRE(block != nullptr);
    REQUIRE(blocks.insert(block).second);
  }
  for (void* block : blocks) free(block);
}

TEST_CASE("Sizes above PTRDIFF_MAX are refused with ENOMEM by every function") {
  for (const size_t size : {kTooLarge, SIZE_MAX, SIZE_MAX - 4096}) {
    errno = 0;
    CHECK(malloc(Opaque(size)) == nullptr);
    CHECK(errno == ENOMEM);
    errno = 0;
    CHECK(calloc(1, Opaque(size)) == nullptr);
    CHECK(errno == ENOMEM);
    errno = 0;
    CHECK(aligned_alloc(64, Opaque(size)) == nullptr);
    CHECK(errno == ENOMEM);
    errno = 0;
    CHECK(valloc(Opaque(size)) == nullptr);
    CHECK(errno == ENOMEM);
    errno = 0;
    CHECK(pvalloc(Opaque(size)) == nullptr);
    CHECK(errno == ENOMEM);
    void* block = Opaque(malloc(10));
    std::memcpy(block, "untouched", 10);
    errno = 0;
    CHECK(realloc(block, Opaque(size)) == nullptr);
    CHECK(errno == ENOMEM);
    CHECK(std::memcmp(block, "untouched", 10) == 0);
    free(block);
  }
}

TEST_CASE("A size that the heap has not is refused with ENOMEM, and the heap goes on") {
  errno = 0;
  CHECK(malloc(Opaque(size_t{1} << 45)) == nullptr);
  CHECK(errno == ENOMEM);
  void* block = Opaque(malloc(100));
  CHECK(block != nullptr);
  free(block);
}

TEST_CASE("calloc and reallocarray notice overflow") {
  errno = 0;
  CHECK(calloc(Opaque(SIZE_MAX / 2), 3) == nullptr);
  CHECK(errno == ENOMEM);
  errno = 0;
  CHECK(calloc(Opaque(size_t{1} << 33), size_t{1} << 33) == nullptr);
  CHECK(errno == ENOMEM);
  void* block = Opaque(malloc(10));
  errno = 0;
  CHECK(reallocarray(block, Opaque(SIZE_MAX / 2), 3) == nullptr);
  CHECK(errno == ENOMEM);
  block = reallocarray(block, 100, 10);
  REQUIRE(block != nullptr);
  CHECK(malloc_usable_size(block) >= 1000);
  free(block);
}

TEST_CASE("calloc clears what was used before, at all sizes") {
  for (const size_t size : {size_t{1}, size_t{100}, size_t{5000}, size_t{70000}, size_t{300000},
                            size_t{1} << 20, (size_t{3} << 20) + 12345}) {
    for (int round = 0; round < 3; ++round) {
      auto* dirty = static_cast<char*>(Opaque(malloc(size)));
      std::memset(dirty, 0xff, size);
      free(dirty);
      auto* block = static_cast<char*>(Opaque(calloc(size, 1)));
      REQUIRE(block != nullptr);
      REQUIRE(IsZero(block, size));
      std::memset(block, 0xff, size);
      free(block);
    }
  }
}

TEST_CASE("calloc clears what blocks of another size left") {
  for (const size_t former : {size_t{10000}, size_t{40000}, size_t{60000}}) {
    std::vector<char*> blocks(300);
    for (char*& block : blocks) block = static_cast<char*>(Opaque(malloc(former)));
    for (char* block : blocks) std::memset(block, 0xff, former);
    for (char* block : blocks) free(block);
    for (char*& block : blocks) {
      const size_t size = 70000 + 60000 * (static_cast<size_t>(&block - blocks.data()) % 4);
      block = static_cast<char*>(Opaque(calloc(1, size)));
      REQUIRE(IsZero(block, size));
    }
    for (char* block : blocks) free(block);
  }
}

TEST_CASE("realloc keeps the bytes, grows from null, and frees with size 0") {
  char* block = static_cast<char*>(realloc(nullptr, 1));
  REQUIRE(block != nullptr);
  block[0] = 'x';
  size_t size = 1;
  while (size < 40000000) {
    const size_t larger = size + size / 3 + 1;
    block = static_cast<char*>(Opaque(realloc(block, larger)));
    REQUIRE(block != nullptr);
    REQUIRE(block[0] == 'x');
    REQUIRE(block[size - 1] == 'x');
    std::memset(block + size, 'x', larger - size);
    size = larger;
  }
  while (size > 10) {
    size /= 3;
    block = static_cast<char*>(Opaque(realloc(block, size)));
    REQUIRE(block != nullptr);
    REQUIRE(block[0] == 'x');
    REQUIRE(block[size - 1] == 'x');
  }
  errno = 0;
  CHECK(realloc(block, Opaque(size_t{0})) == nullptr);
  CHECK(errno == 0);
}

TEST_CASE("free leaves errno alone, and null too") {
  std::vector<void*> blocks;
  for (int i = 0; i < 100000; ++i) blocks.push_back(Opaque(malloc(static_cast<size_t>(i) % 5000)));
  blocks.push_back(Opaque(malloc(size_t{1} << 30)));
  bool is_kept = true;
  for (void* block : blocks) {
    errno = 4711;
    free(block);
    is_kept = is_kept && errno == 4711;
  }
  CHECK(is_kept);
  errno = 4711;
  free(Opaque<void*>(nullptr));
  CHECK(errno == 4711);
}

TEST_CASE("Aligned blocks are aligned, from 1 byte to a GiB of alignment") {
  for (size_t alignment = 1; alignment <= size_t{1} << 30; alignment *= 2) {
    for (const size_t size : {size_t{0}, size_t{1}, size_t{100}, size_t{5000}, size_t{100000}}) {
      void* block = aligned_alloc(alignment, Opaque(size));
      REQUIRE(block != nullptr);
      REQUIRE(IsAligned(block, alignment));
      REQUIRE(malloc_usable_size(block) >= size);
      std::memset(block, 1, size);
      free(block);
    }
  }
  errno = 0;
  CHECK(aligned_alloc(Opaque(size_t{1} << 31), 1) == nullptr);
  CHECK(errno == ENOMEM);
}

TEST_CASE("Alignments that are none: EINVAL, or rounded up by memalign") {
  for (const size_t alignment : {size_t{0}, size_t{3}, size_t{24}, size_t{4097}}) {
    errno = 0;
    CHECK(aligned_alloc(Opaque(alignment), 10) == nullptr);
    CHECK(errno == EINVAL);
  }
  errno = 4711;
  void* block = &errno;
  for (const size_t alignment : {size_t{0}, size_t{1}, size_t{2}, size_t{4}, size_t{24}}) {
    CHECK(posix_memalign(&block, Opaque(alignment), 10) == EINVAL);
  }
  CHECK(posix_memalign(&block, 64, Opaque(kTooLarge)) == ENOMEM);
  CHECK(block == &errno);
  CHECK(errno == 4711);
  REQUIRE(posix_memalign(&block, 8, 10) == 0);
  free(block);
  block = memalign(Opaque(size_t{48}), 10);
  REQUIRE(block != nullptr);
  CHECK(IsAligned(block, 64));
  free(block);
  errno = 0;
  CHECK(memalign(Opaque(SIZE_MAX), 10) == nullptr);
  CHECK(errno == EINVAL);
}

TEST_CASE("valloc and pvalloc give whole pages") {
  const auto page = static_cast<size_t>(sysconf(_SC_PAGESIZE));
  for (const size_t size : {size_t{0}, size_t{1}, page, page + 1}) {
    void* block = valloc(Opaque(size));
    REQUIRE(IsAligned(block, page));
    free(block);
    block = pvalloc(Opaque(size));
    REQUIRE(IsAligned(block, page));
    CHECK(malloc_usable_size(block) >= (size + page - 1) / page * page);
    CHECK(malloc_usable_size(block) >= page);
    free(block);
  }
}

TEST_CASE("An aligned block can be reallocated; the bytes go along") {
  auto* block = static_cast<char*>(aligned_alloc(4096, 10000));
  std::memset(block, 7, 10000);
  block = static_cast<char*>(Opaque(realloc(block, 300000)));
  REQUIRE(block != nullptr);
  CHECK(block[0] == 7);
  CHECK(block[9999] == 7);
  free(block);
}

TEST_CASE("malloc_usable_size of null is 0") {
  CHECK(malloc_usable_size(Opaque<void*>(nullptr)) == 0);
}

TEST_CASE("mallinfo2 counts what is allocated and freed") {
  const struct mallinfo2 before = mallinfo2();
  void* block = Opaque(malloc(size_t{10} << 20));
  const struct mallinfo2 with = mallinfo2();
  CHECK(with.uordblks - before.uordblks >= size_t{10} << 20);
  CHECK(with.uordblks - before.uordblks < size_t{11} << 20);
  CHECK(with.arena >= with.uordblks);
  CHECK(with.arena - with.uordblks == with.fordblks);
  free(block);
  const struct mallinfo2 after = mallinfo2();
  CHECK(after.uordblks < with.uordblks - (size_t{9} << 20));
}

TEST_CASE("mallopt refuses what has no counterpart; malloc_info and malloc_trim answer") {
  CHECK(mallopt(M_MMAP_THRESHOLD, 100000) == 0);
  errno = 0;
  CHECK(malloc_info(1, stdout) == -1);
  CHECK(errno == EINVAL);
  char* text = nullptr;
  size_t length = 0;
  FILE* stream = open_memstream(&text, &length);
  CHECK(malloc_info(0, stream) == 0);
  std::fclose(stream);
  CHECK(std::string(text).find("<malloc version=") == 0);
  CHECK(std::string(text).find("</malloc>") != std::string::npos);
  free(text);
  const int trimmed = malloc_trim(0);
  CHECK((trimmed == 0 || trimmed == 1));
  CHECK(malloc_trim(0) == 0);  // the second one finds nothing
}

TEST_CASE("Blocks from the C library's own functions can be freed and grown") {
  char* copy = strdup("a string");
  copy = static_cast<char*>(Opaque(realloc(copy, 1000)));
  CHECK(std::string(copy) == "a string");
  free(copy);
  char* printed = nullptr;
  REQUIRE(asprintf(&printed, "%d", 4711) == 4);
  CHECK(std::string(printed) == "4711");
  free(printed);
}

TEST_CASE("The heap takes a million blocks and has them all intact") {
  struct Entry {
    uint32_t* block;
    size_t words;
  };
  std::vector<Entry> entries;
  uint64_t state = 1;
  for (uint32_t i = 0; i < 1000000; ++i) {
    state = state * 6364136223846793005 + 1442695040888963407;
    const size_t words = 1 + (state >> 33) % 40;
    auto* block = static_cast<uint32_t*>(malloc(words * 4));
    REQUIRE(block != nullptr);
    for (size_t w = 0; w < words; ++w) block[w] = i;
    entries.push_back({block, words});
    if (i % 3 == 0) {  // some go at once
      free(entries.back().block);
      entries.pop_back();
    }
  }
  bool is_intact = true;
  for (const Entry& entry : entries) {
    for (size_t w = 1; w < entry.words; ++w) {
      is_intact = is_intact && entry.block[w] == entry.block[0];
    }
    free(entry.block);
  }
  CHECK(is_intact);
}
