#ifndef HSHM_UNIT_TESTS_DATA_STRUCTURES_CONTAINERS_H_
#define HSHM_UNIT_TESTS_DATA_STRUCTURES_CONTAINERS_H_

#include <cstdint>
#include <string>

#include "hermes_shm/data_structures/list.h"
#include "hermes_shm/data_structures/map.h"
#include "hermes_shm/data_structures/string.h"
#include "hermes_shm/data_structures/unordered_map.h"
#include "hermes_shm/data_structures/vector.h"

namespace hshm::test {

/** One of each of our containers, which ranks find by their names. */
template <typename AllocT>
class Containers {
 public:
  static constexpr uint64_t kFilled = 1000;
  static constexpr uint64_t kChanged = 1200;

  void Make(AllocT* alloc) {
    vector_.shm_init(alloc);
    list_.shm_init(alloc);
    map_.shm_init(alloc);
    table_.shm_init(alloc);
    text_.shm_init(alloc);
    HSHM_CHECK(alloc->SetRoot("vector", vector_.offset()));
    HSHM_CHECK(alloc->SetRoot("list", list_.offset()));
    HSHM_CHECK(alloc->SetRoot("map", map_.offset()));
    HSHM_CHECK(alloc->SetRoot("table", table_.offset()));
    HSHM_CHECK(alloc->SetRoot("text", text_.offset()));
  }

  void Attach(AllocT* alloc) {
    vector_.shm_attach(alloc, alloc->FindRootOffset("vector"));
    list_.shm_attach(alloc, alloc->FindRootOffset("list"));
    map_.shm_attach(alloc, alloc->FindRootOffset("map"));
    table_.shm_attach(alloc, alloc->FindRootOffset("table"));
    text_.shm_attach(alloc, alloc->FindRootOffset("text"));
  }

  void Destroy() {
    vector_.shm_destroy();
    list_.shm_destroy();
    map_.shm_destroy();
    table_.shm_destroy();
    text_.shm_destroy();
  }

  /** Puts in the numbers from first to last; false when there was no room. */
  bool Fill(uint64_t first, uint64_t last) {
    bool is_room = true;
    for (uint64_t i = first; i < last; ++i) {
      is_room = vector_.push_back(i) && is_room;
      is_room = list_.push_back(i) && is_room;
      is_room = map_.insert({i, 2 * i}).second && is_room;
      is_room = table_.insert(i, 3 * i) == ipc::MapResult::kInserted && is_room;
      is_room = text_.push_back(LetterOf(i)) && is_room;
    }
    return is_room;
  }
  /** Takes the odd numbers out and puts more in. */
  bool Change() {
    const auto is_odd = [](uint64_t i) { return i % 2 != 0; };
    for (auto it = vector_.begin(); it != vector_.end();) {
      it = is_odd(*it) ? vector_.erase(it) : it + 1;
    }
    list_.remove_if(is_odd);
    for (uint64_t i = 1; i < kFilled; i += 2) map_.erase(i);
    table_.erase_if([&](uint64_t i, uint64_t) { return is_odd(i); });
    text_.clear();
    for (uint64_t i = 0; i < kFilled; i += 2) {
      if (!text_.push_back(LetterOf(i))) return false;
    }
    return Fill(kFilled, kChanged);
  }

  /** Whether each holds exactly the numbers that Fill, and then Change, have left. */
  bool IsFilled() const { return Holds(false); }
  bool IsChanged() const { return Holds(true); }

  ipc::vector<uint64_t, AllocT> vector_;
  ipc::list<uint64_t, AllocT> list_;
  ipc::map<uint64_t, uint64_t, AllocT> map_;
  ipc::unordered_map<uint64_t, uint64_t, AllocT> table_;
  ipc::string<AllocT> text_;

 private:
  static char LetterOf(uint64_t i) { return static_cast<char>('a' + i % 26); }

  bool Holds(bool is_changed) const {
    uint64_t count = 0;
    auto in_list = list_.begin();
    auto in_map = map_.begin();
    for (uint64_t i = 0; i < (is_changed ? kChanged : kFilled); ++i) {
      if (is_changed && i < kFilled && i % 2 != 0) continue;
      if (count == vector_.size() || in_list == list_.end() || in_map == map_.end()) return false;
      const bool is_right = vector_[count] == i && *in_list++ == i && in_map->first == i &&
                            in_map->second == 2 * i && table_.find(i) == 3 * i &&
                            text_[count] == LetterOf(i);
      if (!is_right) return false;
      ++in_map;
      ++count;
    }
    return vector_.size() == count && list_.size() == count && map_.size() == count &&
           table_.size() == count && text_.size() == count && vector_.Check() && list_.Check() &&
           map_.Check() && table_.Check();
  }
};

}  // namespace hshm::test

#endif  // HSHM_UNIT_TESTS_DATA_STRUCTURES_CONTAINERS_H_
