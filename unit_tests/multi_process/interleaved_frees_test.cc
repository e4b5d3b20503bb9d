/** A block that a second thread frees between any two instructions of the first one's free. */
#include <csignal>
#include <functional>
#include <string>

#include "multi_process/heap.h"
#include "support/child_process.h"
#include "support/stepped_call.h"

namespace hshm::test {
namespace {

using Alloc = ipc::CheckedSmallMultiProcessAllocator;

constexpr int kEndedBefore = 1;
constexpr int kNobodyWasTold = 2;

/** In the child: two heaps free a block of a third one, the other in the midst of the first. */
int FreeTwice(uint32_t instructions) {
  constexpr uint64_t kBytes = 200;  // of a class whose blocks, in Fast, stay with who frees them
  PrivateHeap<Alloc> region(512 << 10);
  Alloc* alloc = region.first();
  Alloc::Heap* owner = alloc->AcquireHeap();
  Alloc::Heap* one = alloc->AcquireHeap();
  Alloc::Heap* other = alloc->AcquireHeap();
  one->Free(owner->Allocate(400));  // so that its functions are bound already
  other->Free(owner->Allocate(400));
  const Offset block = owner->Allocate(kBytes);
  uint32_t left = instructions;
  bool has_come = false;
  SteppedCall::Run([&] { one->Free(block); },
                   [&] {
                     if (left-- != 0) return true;
                     has_come = true;
                     other->Free(block);
                     return false;
                   });
  return has_come ? kNobodyWasTold : kEndedBefore;
}

TEST_CASE("Of two threads that free a neighbour's block at once one is told, whichever is faster") {
  uint32_t instructions = 0;
  for (;; ++instructions) {
    CAPTURE(instructions);
    const Ending ending = RunInChild([&] { _exit(FreeTwice(instructions)); });
    if (ending.status_ == kEndedBefore) break;
    CAPTURE(ending.errors_);
    REQUIRE(ending.status_ == -SIGABRT);
    REQUIRE(ending.errors_.find("hshm: DoubleFree: ") != std::string::npos);
  }
  REQUIRE(instructions > 20);
}

}  // namespace
}  // namespace hshm::test
