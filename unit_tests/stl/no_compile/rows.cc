/**
 * Containers of libstdc++ that cannot be shared between ranks. One at a time, by HSHM_TEST_ROW: the
 * test compiles this file and expects the compiler to refuse.
 */
#include <deque>
#include <forward_list>
#include <list>
#include <map>
#include <string>
#include <unordered_map>
#include <vector>

#include "hermes_shm/data_structures/allocator.h"

namespace {

template <typename T>
using Alloc = hshm::allocator<T>;
using PairAlloc = Alloc<std::pair<const int, int>>;

void Use(hshm::ipc::MultiProcessAllocator* alloc) {
#if HSHM_TEST_ROW == 0  // the control: this one can be shared
  std::vector<int, Alloc<int>> container(alloc);
  container.push_back(1);
#elif HSHM_TEST_ROW == 1
  std::unordered_map<int, int, std::hash<int>, std::equal_to<int>, PairAlloc> container(alloc);
  container[1] = 2;
#elif HSHM_TEST_ROW == 2
  std::forward_list<int, Alloc<int>> container(alloc);
  container.push_front(1);
#elif HSHM_TEST_ROW == 3
  std::vector<bool, Alloc<bool>> container(alloc);
  container.push_back(true);
#elif HSHM_TEST_ROW == 4
  std::vector<int*, Alloc<int*>> container(alloc);
  container.push_back(nullptr);
#elif HSHM_TEST_ROW == 5
  std::list<int, Alloc<int>> container(alloc);
  container.push_back(1);
#elif HSHM_TEST_ROW == 6
  std::map<int, int, std::less<int>, PairAlloc> container(alloc);
  container[1] = 2;
#elif HSHM_TEST_ROW == 7
  std::basic_string<char, std::char_traits<char>, Alloc<char>> container(alloc);
  container += "a text";
#endif
}

}  // namespace

int main() { Use(nullptr); }
