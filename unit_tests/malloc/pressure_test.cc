/** libhshm_malloc when its heap, or the system, has no more: null and ENOMEM, and it goes on. */
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <new>
#include <vector>

#include "malloc/preloaded.h"
#include "support/catch.h"

using hshm::test::Opaque;

namespace {

/** A list of blocks that needs no memory of its own. */
struct Node {
  Node* next_;
  size_t bytes_;
};

/** Blocks of `bytes` until there is none; all touched. @return their sum */
size_t Fill(Node** list, size_t bytes) {
  size_t sum = 0;
  for (;;) {
    errno = 0;
    auto* node = static_cast<Node*>(Opaque(malloc(bytes)));
    if (node == nullptr) return sum;
    std::memset(static_cast<void*>(node), 0x77, bytes);
    *node = {*list, bytes};
    *list = node;
    sum += bytes;
  }
}

void Clear(Node** list) {
  while (*list != nullptr) {
    Node* const next = (*list)->next_;
    free(*list);
    *list = next;
  }
}

}  // namespace

TEST_CASE("A full heap answers ENOMEM, and has as much again once it is empty") {
  REQUIRE(hshm::test::IsPreloaded());
  Node* list = nullptr;
  size_t first = 0;
  for (int round = 0; round < 4; ++round) {
    size_t sum = 0;
    for (size_t bytes = size_t{4} << 20; bytes >= 16; bytes /= 8) {
      sum += Fill(&list, bytes);
      REQUIRE(errno == ENOMEM);
    }
    if (round == 0) first = sum;
    // A large part of HSHM_MALLOC_SIZE, and the same each time.
    CHECK(sum > size_t{40} << 20);
    CHECK(sum > first - first / 20);
    Clear(&list);
  }
}

TEST_CASE("With a full heap blocks keep their bytes, can shrink, and a child can be forked") {
  auto* kept = static_cast<char*>(Opaque(malloc(10000)));
  std::memset(kept, 'k', 10000);
  Node* list = nullptr;
  for (size_t bytes = size_t{1} << 20; bytes >= 16; bytes /= 4) Fill(&list, bytes);
  CHECK(realloc(kept, Opaque(size_t{10} << 20)) == nullptr);
  CHECK(errno == ENOMEM);
  CHECK(std::all_of(kept, kept + 10000, [](char c) { return c == 'k'; }));
  bool has_thrown = false;
  try {
    ::operator delete(::operator new(Opaque(size_t{10} << 20)));
  } catch (const std::bad_alloc&) {
    has_thrown = true;
  }
  CHECK(has_thrown);
  const pid_t child = fork();
  if (child == 0) {
    const bool is_full = malloc(Opaque(size_t{1} << 20)) == nullptr;
    Clear(&list);
    void* const block = Opaque(malloc(size_t{1} << 20));
    _exit(is_full && block != nullptr ? 0 : 1);
  }
  int status = -1;
  CHECK(waitpid(child, &status, 0) == child);
  CHECK(status == 0);
  auto* smaller = static_cast<char*>(realloc(kept, 10));
  REQUIRE(smaller != nullptr);
  CHECK(smaller[9] == 'k');
  free(smaller);
  Clear(&list);
}

TEST_CASE("What one thread freed, another one gets when the heap is full") {
  Node* list = nullptr;
  const size_t sum = Fill(&list, 50000);
  Clear(&list);
  const size_t again = Fill(&list, 3000);
  CHECK(again > sum - sum / 8);
  Clear(&list);
}
