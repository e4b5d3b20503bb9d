/** Allocates in its constructor, which runs before main, and frees in its destructor, which runs
 * after those of the program. */
#include <cstdio>
#include <cstdlib>
#include <string>
#include <vector>

namespace {

std::vector<std::string>* kept = nullptr;

__attribute__((constructor)) void OnLoad() {
  kept = new std::vector<std::string>(1000, std::string(100, 'k'));
}

__attribute__((destructor)) void OnUnload() {
  const bool is_intact = kept->size() == 1000 && kept->back() == std::string(100, 'k');
  delete kept;
  free(malloc(100000));
  std::printf(is_intact ? "unloaded\n" : "damaged\n");
  std::fflush(stdout);
}

}  // namespace

extern "C" __attribute__((visibility("default"))) char* MakeText(size_t size) {
  auto* text = static_cast<char*>(malloc(size + 1));
  for (size_t i = 0; i < size; ++i) text[i] = 'm';
  text[size] = '\0';
  return text;
}
