/** fork() on libhshm_malloc: the child's heap is its own, whole, and works. */
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <string>
#include <thread>
#include <vector>

#include "malloc/preloaded.h"
#include "support/catch.h"

using hshm::test::Opaque;

namespace {

/** Exit status of a child that runs body; 200 and more: killed by a signal. */
template <typename Body>
int StatusOfChild(Body body) {
  const pid_t child = fork();
  if (child == 0) _exit(body());
  int status = 0;
  REQUIRE(waitpid(child, &status, 0) == child);
  return WIFEXITED(status) ? WEXITSTATUS(status) : 200 + WTERMSIG(status);
}

/** Allocates, fills, checks and frees blocks of many sizes. */
bool Exercise(uint64_t state, int rounds) {
  constexpr size_t kBlocks = 500;
  std::vector<std::string> blocks(kBlocks);
  for (int i = 0; i < rounds; ++i) {
    state = state * 6364136223846793005 + 1442695040888963407;
    std::string& block = blocks[(state >> 40) % kBlocks];
    for (const char c : block) {
      if (c != block[0]) return false;
    }
    const size_t size = (state >> 20) % 2000;
    block = std::string(i % 100 == 0 ? size * 100 : size, static_cast<char>('a' + i % 26));
  }
  return true;
}

/** Threads that allocate and free until they are told to stop, also each other's blocks. */
class BusyThreads {
 public:
  explicit BusyThreads(unsigned count) {
    for (unsigned i = 0; i < count; ++i) threads_.emplace_back([this, i] { Run(i); });
  }
  ~BusyThreads() {
    must_stop_ = true;
    for (std::thread& thread : threads_) thread.join();
    for (auto& slot : shared_) free(slot.exchange(nullptr));
  }

 private:
  void Run(unsigned seed) {
    uint64_t state = seed + 1;
    while (!must_stop_) {
      state = state * 6364136223846793005 + 1442695040888963407;
      const size_t size = 16 + (state >> 30) % ((state >> 60) == 0 ? 100000 : 1000);
      auto* block = static_cast<char*>(malloc(size));
      std::memset(block, 1, 16);
      free(shared_[(state >> 45) % 256].exchange(block));
    }
  }

  std::atomic<bool> must_stop_{false};
  std::atomic<void*> shared_[256] = {};
  std::vector<std::thread> threads_;
};

}  // namespace

TEST_CASE("These tests run on libhshm_malloc") { REQUIRE(hshm::test::IsPreloaded()); }

TEST_CASE("What a child writes into inherited blocks its parent does not see") {
  auto* block = static_cast<char*>(Opaque(malloc(100000)));
  std::memset(block, 'p', 100000);
  CHECK(StatusOfChild([&] {
          for (int i = 0; i < 100000; ++i) {
            if (block[i] != 'p') return 1;
          }
          std::memset(block, 'c', 100000);
          return 0;
        }) == 0);
  CHECK(block[0] == 'p');
  CHECK(block[99999] == 'p');
  free(block);
}

TEST_CASE("A child frees and grows all that it inherited, and its parent has it still") {
  std::vector<std::string> texts;
  for (size_t i = 0; i < 20000; ++i) texts.emplace_back(i % 3000, 'x');
  void* large = Opaque(malloc(size_t{20} << 20));
  CHECK(StatusOfChild([&] {
          for (size_t i = 0; i < texts.size(); i += 2) texts[i] += std::string(100, 'y');
          texts.clear();
          texts.shrink_to_fit();
          free(large);
          return Exercise(7, 20000) ? 0 : 1;
        }) == 0);
  for (size_t i = 0; i < texts.size(); ++i) REQUIRE(texts[i] == std::string(i % 3000, 'x'));
  CHECK(Exercise(8, 20000));
  free(large);
}

TEST_CASE("Children of children have heaps of their own") {
  CHECK(StatusOfChild([] {
          std::string mine(1000, 'm');
          const int status = StatusOfChild([&] {
            mine += "grandchild";
            return Exercise(9, 5000) ? 3 : 4;
          });
          return status == 3 && mine == std::string(1000, 'm') && Exercise(10, 5000) ? 0 : 1;
        }) == 0);
}

TEST_CASE("A child of a parent whose other threads are in malloc can allocate and free") {
  const BusyThreads busy(4);
  for (int i = 0; i < (hshm::test::IsShm() ? 10 : 30); ++i) {
    const std::string inherited(static_cast<size_t>(i) * 100, 'i');
    REQUIRE(StatusOfChild([&] {
              std::string copy = inherited;
              copy += "more";
              if (!Exercise(static_cast<uint64_t>(i), 1000)) return 1;
              // Threads of its own take over what the parent's left.
              std::thread([] { Exercise(1, 2000); }).join();
              return copy.size() == inherited.size() + 4 ? 0 : 2;
            }) == 0);
  }
}

TEST_CASE("Threads that fork at the same time do not lock each other out") {
  std::vector<std::thread> threads;
  std::atomic<int> failures{0};
  for (int t = 0; t < 3; ++t) {
    threads.emplace_back([&] {
      for (int i = 0; i < 10; ++i) {
        const pid_t child = fork();
        if (child == 0) _exit(Exercise(3, 200) ? 0 : 1);
        int status = 0;
        if (waitpid(child, &status, 0) != child || status != 0) ++failures;
        Exercise(4, 200);
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  CHECK(failures == 0);
}
