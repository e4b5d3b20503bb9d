/** Threads and the ends of the program's life on libhshm_malloc. */
#include <malloc.h>
#include <pthread.h>

#include <atomic>
#include <cstdlib>
#include <cstring>
#include <string>
#include <thread>
#include <vector>

#include "malloc/preloaded.h"
#include "support/catch.h"
#include "support/full_run.h"

using hshm::test::Opaque;

namespace {

size_t LiveBytes() { return mallinfo2().uordblks; }

/** Frees and allocates when its thread ends, before and after the heap's own key. */
struct ThreadLocalUser {
  std::string text_ = std::string(1000, 't');
  ~ThreadLocalUser() { text_ = std::string(3000, 'u'); }
};
thread_local ThreadLocalUser thread_local_user;

}  // namespace

TEST_CASE("Threads by the thousand leave live bytes as they were") {
  const auto body = [] {
    std::vector<void*> blocks;
    for (size_t i = 0; i < 50; ++i) blocks.push_back(Opaque(malloc(i * 100)));
    for (void* block : blocks) free(block);
  };
  for (int i = 0; i < 100; ++i) std::thread(body).join();
  const size_t before = LiveBytes();
  const uint64_t threads = hshm::test::TimesOf(10000, 100000);
  for (uint64_t i = 0; i < threads; ++i) std::thread(body).join();
  CHECK(LiveBytes() == before);
}

TEST_CASE("Destructors of later keys and of thread_local objects free and allocate") {
  static pthread_key_t keys[40];  // beyond 32 the C library allocates room for them
  static std::atomic<int> destroyed{0};
  for (pthread_key_t& key : keys) {
    REQUIRE(pthread_key_create(&key, [](void* block) {
              free(block);
              free(Opaque(malloc(5000)));
              ++destroyed;
            }) == 0);
  }
  const size_t before = LiveBytes();
  for (int i = 0; i < 200; ++i) {
    std::thread([] {
      thread_local_user.text_ += "x";
      for (const pthread_key_t key : keys) pthread_setspecific(key, Opaque(malloc(300)));
    }).join();
  }
  CHECK(destroyed == 200 * 40);
  CHECK(LiveBytes() <= before + 65536);
  for (const pthread_key_t key : keys) pthread_key_delete(key);
}

TEST_CASE("Two thousand threads at once allocate, with and without a heap of their own") {
  constexpr int kThreads = 2000;
  std::vector<pthread_t> threads;
  static std::atomic<int> ready{0};
  static std::atomic<bool> must_end{false};
  static std::atomic<int> broken{0};
  pthread_attr_t attributes;
  pthread_attr_init(&attributes);
  pthread_attr_setstacksize(&attributes, 65536);
  const auto body = [](void*) -> void* {
    char* blocks[20];
    for (size_t i = 0; i < 20; ++i) {
      blocks[i] = static_cast<char*>(malloc(100 + i));
      if (blocks[i] == nullptr) ++broken;
      std::memset(blocks[i], static_cast<int>(i), 100 + i);
    }
    ++ready;
    while (!must_end) sched_yield();
    for (size_t i = 0; i < 20; ++i) {
      if (blocks[i][0] != static_cast<char>(i) || blocks[i][99] != static_cast<char>(i)) ++broken;
      free(blocks[i]);
    }
    return nullptr;
  };
  for (int i = 0; i < kThreads; ++i) {
    pthread_t thread = 0;
    if (pthread_create(&thread, &attributes, body, nullptr) != 0) break;
    threads.push_back(thread);
  }
  CHECK(threads.size() > 1100);  // more than there are heaps
  while (ready != static_cast<int>(threads.size())) sched_yield();
  must_end = true;
  for (const pthread_t thread : threads) pthread_join(thread, nullptr);
  pthread_attr_destroy(&attributes);
  CHECK(broken == 0);
}

TEST_CASE("Blocks travel between threads and come back to the heap") {
  constexpr size_t kBlocks = 200000;
  const size_t before = LiveBytes();
  for (int round = 0; round < 3; ++round) {
    std::vector<void*> blocks(kBlocks);
    std::thread([&] {
      for (size_t i = 0; i < kBlocks; ++i) blocks[i] = Opaque(malloc(16 + i % 200));
    }).join();
    std::thread([&] {
      for (void* block : blocks) free(block);
    }).join();
  }
  CHECK(LiveBytes() <= before + 65536);
}
