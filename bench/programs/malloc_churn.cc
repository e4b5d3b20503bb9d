/* Churn on malloc: `malloc_churn LIVE_MIB REPLACEMENTS SEED`; prints JSON. */
#include <cstdio>

#include "heaps/malloc_heap.h"
#include "loops/churn.h"

int main(int argc, char** argv) {
  using namespace hshm::bench;
  ChurnOptions options;
  if (!ChurnOptions::Read(argc, argv, &options)) {
    std::fprintf(stderr, "malloc_churn LIVE_MIB REPLACEMENTS SEED\n");
    return 2;
  }
  MallocHeap heap;
  Churn<MallocHeap> churn(heap, options);
  churn.Run();
  churn.FreeAll();
  std::printf("}\n");
  return 0;
}
