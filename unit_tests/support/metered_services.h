#ifndef HSHM_UNIT_TESTS_SUPPORT_METERED_SERVICES_H_
#define HSHM_UNIT_TESTS_SUPPORT_METERED_SERVICES_H_

#include <cstdint>
#include <functional>
#include <utility>
#include <vector>

#include "support/passed_services.h"

namespace hshm::test {

/** The services of a region whose system has memory for so many more Commit calls. */
class Meter : public PassedServices {
 public:
  using PassedServices::PassedServices;

  void Allow(uint64_t commits) { left_ = commits; }
  /** Calls this once, from within the next Commit of bytes from `offset` on. */
  void CallAt(ipc::Offset offset, std::function<void()> call) {
    call_offset_ = offset;
    call_ = std::move(call);
  }
  /** Calls this once, from within the next question whether the slot lives. */
  void CallWhenAsked(uint32_t slot, std::function<void()> call) {
    asked_slot_ = slot;
    when_asked_ = std::move(call);
  }
  /** Nothing that begins in [begin, end), whatever Allow says. */
  void Refuse(ipc::Offset begin, ipc::Offset end) {
    refused_begin_ = begin;
    refused_end_ = end;
  }
  /** Nothing that begins before `end` and is larger. */
  void RefuseAbove(uint64_t size_bytes, ipc::Offset end) {
    largest_ = size_bytes;
    largest_end_ = end;
  }
  uint64_t refused() const { return refused_; }
  /** Bytes from `offset` on for which there was memory, some of them perhaps twice. */
  uint64_t GivenFrom(ipc::Offset offset) const {
    uint64_t sum = 0;
    for (const auto& [begin, bytes] : given_) sum += begin >= offset ? bytes : 0;
    return sum;
  }

  bool Commit(ipc::Offset offset, uint64_t size_bytes) noexcept override {
    if (call_ != nullptr && offset >= call_offset_) std::exchange(call_, nullptr)();
    if (left_ == 0 || (size_bytes > largest_ && offset < largest_end_) ||
        (offset >= refused_begin_ && offset < refused_end_)) {
      ++refused_;
      return false;
    }
    --left_;
    given_.emplace_back(offset, size_bytes);
    return PassedServices::Commit(offset, size_bytes);
  }
  bool IsAlive(uint32_t slot) noexcept override {
    const bool is_alive = PassedServices::IsAlive(slot);
    if (slot == asked_slot_ && when_asked_ != nullptr) std::exchange(when_asked_, nullptr)();
    return is_alive;
  }

 private:
  uint64_t left_ = ~uint64_t{0};
  uint64_t refused_ = 0;
  uint64_t largest_ = ~uint64_t{0};
  ipc::Offset largest_end_ = 0;
  ipc::Offset refused_begin_ = 0;
  ipc::Offset refused_end_ = 0;
  std::vector<std::pair<ipc::Offset, uint64_t>> given_;
  ipc::Offset call_offset_ = 0;
  std::function<void()> call_;
  uint32_t asked_slot_ = 0;
  std::function<void()> when_asked_;
};

}  // namespace hshm::test

#endif  // HSHM_UNIT_TESTS_SUPPORT_METERED_SERVICES_H_
