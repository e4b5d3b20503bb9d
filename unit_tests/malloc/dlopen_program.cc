/** `dlopen_program LIBHSHM_MALLOC`: the library opened late, beside a malloc that is there already,
 * by a program with threads. Its functions work for who asks for them; the program's stay. */
#include <dlfcn.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <thread>

int main(int argc, char** argv) {
  if (argc != 2) return 2;
  char* before = static_cast<char*>(malloc(1000));
  void* library = dlopen(argv[1], RTLD_NOW | RTLD_LOCAL);
  if (library == nullptr) {
    std::fprintf(stderr, "%s\n", dlerror());
    return 1;
  }
  auto* allocate = reinterpret_cast<void* (*)(size_t)>(dlsym(library, "malloc"));
  auto* release = reinterpret_cast<void (*)(void*)>(dlsym(library, "free"));
  bool is_good = allocate != &malloc;
  const auto use = [&] {
    for (size_t i = 0; i < 10000; ++i) {
      auto* block = static_cast<char*>(allocate(i));
      if (block == nullptr) is_good = false;
      if (block != nullptr) std::memset(block, 1, i);
      release(block);
    }
  };
  use();
  std::thread(use).join();
  free(before);
  if (dlclose(library) != 0) return 1;
  free(malloc(1000));
  std::printf(is_good ? "opened late\n" : "wrong\n");
  return is_good ? 0 : 1;
}
