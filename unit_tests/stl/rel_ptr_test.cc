#include "hermes_shm/intrusive/rel_ptr.h"

#include <algorithm>
#include <cstring>
#include <memory>
#include <numeric>
#include <type_traits>
#include <vector>

#include "support/catch.h"

using hshm::ipc::rel_ptr;

namespace {

struct Base {
  int number_ = 1;
};
struct Derived : Base {
  int more_ = 2;
};

using Traits = std::pointer_traits<rel_ptr<int>>;
static_assert(std::is_same_v<Traits::rebind<char>, rel_ptr<char>>);
static_assert(std::is_same_v<Traits::element_type, int>);
static_assert(std::is_convertible_v<rel_ptr<int>, rel_ptr<const int>>);
static_assert(std::is_convertible_v<rel_ptr<Derived>, rel_ptr<Base>>);
static_assert(std::is_convertible_v<rel_ptr<int>, rel_ptr<const void>>);
static_assert(!std::is_convertible_v<rel_ptr<const int>, rel_ptr<int>>);
static_assert(!std::is_constructible_v<rel_ptr<int>, rel_ptr<const int>>);
static_assert(!std::is_convertible_v<rel_ptr<void>, rel_ptr<int>>);
static_assert(std::is_constructible_v<rel_ptr<int>, rel_ptr<void>>);
static_assert(std::is_constructible_v<rel_ptr<Derived>, rel_ptr<Base>>);
static_assert(std::is_nothrow_copy_constructible_v<rel_ptr<int>>);

}  // namespace

TEST_CASE("rel_ptr in a block leads to the same place in a copy of the block elsewhere") {
  struct Block {
    rel_ptr<int> to_number_;
    rel_ptr<int> null_;
    int number_ = 42;
  };
  Block first;
  first.to_number_ = &first.number_;
  alignas(Block) char elsewhere[sizeof(Block)];
  std::memcpy(elsewhere, static_cast<const void*>(&first), sizeof(Block));
  first.number_ = 0;
  auto* const second = reinterpret_cast<Block*>(elsewhere);
  REQUIRE(second->to_number_.get() == &second->number_);
  REQUIRE(*second->to_number_ == 42);
  REQUIRE(second->null_ == nullptr);
}

TEST_CASE("rel_ptr to itself is not null, and zeroed memory is") {
  rel_ptr<void> self;
  REQUIRE_FALSE(self);
  self = &self;
  REQUIRE(self);
  REQUIRE(self != nullptr);
  REQUIRE(self.get() == &self);
  self = nullptr;
  REQUIRE(self.get() == nullptr);
  char bytes[64];
  rel_ptr<char> near;
  for (char& byte : bytes) {
    near = &byte;
    REQUIRE(near.get() == &byte);
  }
  for (int64_t distance = -16; distance <= 16; ++distance) {
    near = reinterpret_cast<char*>(&near) + distance;
    REQUIRE(near.get() - reinterpret_cast<char*>(&near) == distance);
    REQUIRE(near != nullptr);
  }
}

TEST_CASE("rel_ptr copies lead to the target of what they were copied from") {
  int target = 5;
  std::vector<rel_ptr<int>> copies(10, rel_ptr<int>(&target));
  copies.resize(1000, copies.front());
  for (const rel_ptr<int>& copy : copies) REQUIRE(copy.get() == &target);
  rel_ptr<const int> as_const = copies[3];
  rel_ptr<const void> as_void = as_const;
  REQUIRE(static_cast<rel_ptr<const int>>(as_void) == as_const);
  std::swap(copies[0], copies[999]);
  copies[0] = *&copies[0];
  REQUIRE(copies[0].get() == &target);
  Derived derived;
  const rel_ptr<Base> base = rel_ptr<Derived>(&derived);
  REQUIRE(base->number_ == 1);
  REQUIRE(static_cast<rel_ptr<Derived>>(base)->more_ == 2);
  REQUIRE(Traits::pointer_to(target).get() == &target);
  REQUIRE(std::to_address(copies[5]) == &target);
}

TEST_CASE("rel_ptr is a random access iterator like the pointer it stands for") {
  std::vector<int> numbers(100);
  const rel_ptr<int> first = numbers.data();
  const rel_ptr<int> last = first + 100;
  std::iota(first, last, 0);
  REQUIRE(last - first == 100);
  REQUIRE(first[7] == 7);
  REQUIRE(*(5 + first) == 5);
  REQUIRE(*(last - 1) == 99);
  rel_ptr<int> walker = first;
  REQUIRE(*walker++ == 0);
  REQUIRE(*++walker == 2);
  REQUIRE(*walker-- == 2);
  REQUIRE(*--walker == 0);
  walker += 10;
  walker -= 3;
  REQUIRE(*walker == 7);
  REQUIRE(first < walker);
  REQUIRE(walker <= last);
  std::sort(first, last, std::greater<>());
  REQUIRE(numbers.front() == 99);
  REQUIRE(*std::lower_bound(first, last, 50, std::greater<>()) == 50);
  rel_ptr<int> null;
  REQUIRE((null += 0) == nullptr);
  REQUIRE(null + 0 == nullptr);
  REQUIRE(null - null == 0);
}
