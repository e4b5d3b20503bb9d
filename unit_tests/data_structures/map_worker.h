#ifndef HSHM_UNIT_TESTS_DATA_STRUCTURES_MAP_WORKER_H_
#define HSHM_UNIT_TESTS_DATA_STRUCTURES_MAP_WORKER_H_

#include <cstdint>
#include <optional>

#include "hermes_shm/data_structures/unordered_map.h"

namespace hshm::test {

/** What the processes of a test tell each other; under the root "board". */
struct Board {
  static constexpr uint32_t kWorkers = 3;
  uint64_t map_;                         // offset
  uint64_t ring_;                        // offset
  Atomic<uint64_t> progress_[kWorkers];  // steps that a worker has finished
};

/**
 * One of several processes that change a map at once. Step i inserts a key of its own, counts a key
 * that all count, and erases its own key of kWindow steps ago.
 */
template <typename AllocT>
class MapWorker {
 public:
  using Map = ipc::unordered_map<uint64_t, uint64_t, AllocT>;
  static constexpr uint64_t kWindow = 50;
  static constexpr uint64_t kCommonKeys = 8;

  static uint64_t OwnKey(uint64_t worker, uint64_t step) { return worker << 32 | step; }
  static uint64_t CommonKey(uint64_t step) { return uint64_t{1} << 40 | step % kCommonKeys; }

  MapWorker(AllocT* alloc, uint64_t worker)
      : board_(alloc->template FindRoot<Board>("board").ptr_), worker_(worker) {
    map_.shm_attach(alloc, ipc::OffsetPtr<>(board_->map_));
  }

  /** False when the map answered what it must not. */
  bool Run(uint64_t steps) {
    for (uint64_t i = 0; i < steps; ++i) {
      if (map_.insert(OwnKey(worker_, i), i) != ipc::MapResult::kInserted) return false;
      if (map_.upsert(CommonKey(i), [](uint64_t& n) { ++n; }) == ipc::MapResult::kNoRoom)
        return false;
      if (i >= kWindow && !map_.erase(OwnKey(worker_, i - kWindow))) return false;
      board_->progress_[worker_].store(i + 1);
    }
    return true;
  }

  /** Whether the map holds of a worker what it must after `steps` steps and at most a part of one
   * more. Nobody else may be at work. */
  static bool HoldsStepsOf(const Map& map, uint64_t worker, uint64_t steps) {
    for (uint64_t i = 0; i < steps; ++i) {
      const std::optional<uint64_t> value = map.find(OwnKey(worker, i));
      if (value.has_value() && *value != i) return false;
      const bool erased = i + kWindow < steps;
      const bool either = i + kWindow == steps;  // the step under way may have erased it
      if (!either && value.has_value() == erased) return false;
    }
    return !map.contains(OwnKey(worker, steps + 1));
  }

  static uint64_t CommonCount(const Map& map) {
    uint64_t sum = 0;
    for (uint64_t i = 0; i < kCommonKeys; ++i) sum += map.find(CommonKey(i)).value_or(0);
    return sum;
  }

 private:
  Map map_;
  Board* board_;
  uint64_t worker_;
};

}  // namespace hshm::test

#endif  // HSHM_UNIT_TESTS_DATA_STRUCTURES_MAP_WORKER_H_
