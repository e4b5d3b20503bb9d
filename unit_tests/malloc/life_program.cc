/**
 * Uses the heap from all ends of a program's life. `life_program LIBRARY`: prints "alive" when all
 * went well; LIBRARY prints "unloaded" when it goes.
 */
#include <dlfcn.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <vector>

namespace {

/** Constructed before main, destroyed after it. */
struct Global {
  std::vector<std::string> texts_ = std::vector<std::string>(5000, std::string(50, 'g'));
  ~Global() {
    texts_.resize(10000, std::string(70, 'h'));
    texts_.clear();
  }
};
Global global;
char* left_for_exit = nullptr;

}  // namespace

int main(int argc, char** argv) {
  if (argc != 2) return 2;
  left_for_exit = static_cast<char*>(malloc(100000));
  std::atexit([] {
    free(left_for_exit);
    free(malloc(1 << 20));
  });
  for (int i = 0; i < 20; ++i) {
    void* library = dlopen(argv[1], RTLD_NOW | RTLD_LOCAL);
    if (library == nullptr) {
      std::fprintf(stderr, "%s\n", dlerror());
      return 1;
    }
    auto* make_text = reinterpret_cast<char* (*)(size_t)>(dlsym(library, "MakeText"));
    char* text = make_text(static_cast<size_t>(i) * 1000);
    if (std::strlen(text) != static_cast<size_t>(i) * 1000) return 1;
    if (i % 2 == 0) free(text);
    if (dlclose(library) != 0) return 1;
    if (i % 2 == 1) free(text);  // its library has gone
  }
  std::printf("alive\n");
  return 0;
}
