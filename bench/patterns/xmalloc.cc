/*
 * After Lever and Boreham, "malloc() performance in a multithreaded Linux environment" (2000): some
 * threads only allocate, and pass batches of blocks to others that only free.
 */
#include <condition_variable>
#include <deque>
#include <mutex>

#include "loops/random.h"
#include "patterns/pattern.h"

namespace hshm::bench {
namespace {

constexpr uint32_t kBatchBlocks = 120;
constexpr uint32_t kBatches = 4000;  // of each producer
constexpr size_t kMostWaiting = 64;  // batches between the two sides

using Batch = std::vector<char*>;

class Queue {
 public:
  void Push(Batch batch) {
    std::unique_lock lock(mutex_);
    has_room_.wait(lock, [this] { return batches_.size() < kMostWaiting; });
    batches_.push_back(std::move(batch));
    has_batch_.notify_one();
  }
  Batch Pop() {
    std::unique_lock lock(mutex_);
    has_batch_.wait(lock, [this] { return !batches_.empty(); });
    Batch batch = std::move(batches_.front());
    batches_.pop_front();
    has_room_.notify_one();
    return batch;
  }

 private:
  std::mutex mutex_;
  std::condition_variable has_room_, has_batch_;
  std::deque<Batch> batches_;
};

void Produce(Queue& queue, uint32_t batches, uint32_t seed) {
  static constexpr size_t kSizes[] = {8, 12, 16, 24, 32, 48, 64, 96, 128, 192, 256};
  Random random(seed);
  for (uint32_t i = 0; i < batches; ++i) {
    Batch batch(kBatchBlocks);
    for (char*& block : batch) block = NewBlock(kSizes[random.Below(std::size(kSizes))]);
    queue.Push(std::move(batch));
  }
}

void Consume(Queue& queue, uint32_t batches) {
  for (uint32_t i = 0; i < batches; ++i) {
    for (char* block : queue.Pop()) std::free(block);
  }
}

}  // namespace

void RunXmalloc(const PatternOptions& options) {
  const uint32_t batches = kBatches * options.scale_;
  const uint32_t pairs = (options.threads_ + 1) / 2;
  Queue queue;
  InThreads(2 * pairs, [&](uint32_t index) {
    if (index % 2 == 0) {
      Produce(queue, batches, index + 1);
    } else {
      Consume(queue, batches);
    }
  });
}

}  // namespace hshm::bench
