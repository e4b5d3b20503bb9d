#ifndef HSHM_UNIT_TESTS_STL_ROWS_H_
#define HSHM_UNIT_TESTS_STL_ROWS_H_

#include <algorithm>
#include <cstdint>
#include <deque>
#include <functional>
#include <new>
#include <numeric>
#include <string>
#include <utility>
#include <vector>

#if __has_include(<boost/container/vector.hpp>)
#define HSHM_TEST_HAS_BOOST 1
#include <boost/container/deque.hpp>
#include <boost/container/flat_map.hpp>
#include <boost/container/flat_set.hpp>
#include <boost/container/list.hpp>
#include <boost/container/map.hpp>
#include <boost/container/set.hpp>
#include <boost/container/slist.hpp>
#include <boost/container/small_vector.hpp>
#include <boost/container/stable_vector.hpp>
#include <boost/container/string.hpp>
#include <boost/container/vector.hpp>
#include <boost/unordered_map.hpp>
#include <boost/unordered_set.hpp>
#else
#define HSHM_TEST_HAS_BOOST 0
#endif

#include "hermes_shm/data_structures/allocator.h"

/** The rows of the table in docs/stl.md: containers that ranks share. */
namespace hshm::test {

/**
 * What a container holds: numbers below 128, so that a char does, and a map's values are their
 * negatives. One process fills it, another changes it.
 */
template <typename Container>
struct Contents {
  static constexpr int kFilled = 100;
  static constexpr int kChanged = 120;

  static constexpr bool kIsMap = requires { typename Container::mapped_type; };

  static int NumberIn(const typename Container::value_type& value) {
    if constexpr (kIsMap) {
      return value.second == -value.first ? value.first : -1;
    } else {
      return value;
    }
  }
  static std::vector<int> NumbersIn(const Container& container) {
    std::vector<int> numbers;
    for (const auto& value : container) numbers.push_back(NumberIn(value));
    if constexpr (requires { container.bucket_count(); }) std::sort(numbers.begin(), numbers.end());
    return numbers;
  }

  static void Put(Container& container, int number) {
    if constexpr (kIsMap) {
      container.emplace(number, -number);
    } else {
      container.insert(container.end(), static_cast<typename Container::value_type>(number));
    }
  }

  static void Fill(Container& container) {
    for (int i = 0; i < kFilled; ++i) Put(container, i);
  }
  static bool IsFilled(const Container& container) {
    std::vector<int> expected(kFilled);
    std::iota(expected.begin(), expected.end(), 0);
    return NumbersIn(container) == expected;
  }

  /** Takes the odd numbers out and puts some more in. */
  static void Change(Container& container) {
    for (auto it = container.begin(); it != container.end();) {
      it = NumberIn(*it) % 2 != 0 ? container.erase(it) : std::next(it);
    }
    for (int i = kFilled; i < kChanged; ++i) Put(container, i);
  }
  static bool IsChanged(const Container& container) {
    std::vector<int> expected;
    for (int i = 0; i < kChanged; ++i) {
      if (i >= kFilled || i % 2 == 0) expected.push_back(i);
    }
    return NumbersIn(container) == expected;
  }
};

template <typename AllocT>
struct Rows {
  template <typename T>
  using Alloc = allocator<T, AllocT>;
  using PairAlloc = Alloc<std::pair<const int, int>>;

  /** Calls visit.operator()<Container>(name) for each row of the standard library. */
  template <typename Visit>
  static void ForEachOfStd(const Visit& visit) {
    visit.template operator()<std::vector<int, Alloc<int>>>("std::vector");
    visit.template operator()<std::deque<int, Alloc<int>>>("std::deque");
  }

  /** The same for all rows; those of Boost take their time to compile. */
  template <typename Visit>
  static void ForEach(const Visit& visit) {
    ForEachOfStd(visit);
#if HSHM_TEST_HAS_BOOST
    ForEachOfBoost(visit);
#endif
  }

#if HSHM_TEST_HAS_BOOST
  template <typename Visit>
  static void ForEachOfBoost(const Visit& visit) {
    namespace bc = boost::container;
    using Less = std::less<int>;
    visit.template operator()<bc::vector<int, Alloc<int>>>("boost vector");
    visit.template operator()<bc::small_vector<int, 8, Alloc<int>>>("boost small_vector");
    visit.template operator()<bc::stable_vector<int, Alloc<int>>>("boost stable_vector");
    visit.template operator()<bc::deque<int, Alloc<int>>>("boost deque");
    visit.template operator()<bc::list<int, Alloc<int>>>("boost list");
    visit.template operator()<bc::slist<int, Alloc<int>>>("boost slist");
    visit.template operator()<bc::basic_string<char, std::char_traits<char>, Alloc<char>>>(
        "boost string");
    visit.template operator()<bc::map<int, int, Less, PairAlloc>>("boost map");
    visit.template operator()<bc::set<int, Less, Alloc<int>>>("boost set");
    visit.template operator()<bc::flat_map<int, int, Less, Alloc<std::pair<int, int>>>>(
        "boost flat_map");
    visit.template operator()<bc::flat_set<int, Less, Alloc<int>>>("boost flat_set");
    using Hash = boost::hash<int>;
    using Equal = std::equal_to<int>;
    visit.template operator()<boost::unordered_map<int, int, Hash, Equal, PairAlloc>>(
        "boost unordered_map");
    visit.template operator()<boost::unordered_set<int, Hash, Equal, Alloc<int>>>(
        "boost unordered_set");
  }
#endif
};

/** An empty container in the region of the allocator, under a name. */
template <typename Container, typename AllocT>
Container* MakeContainer(AllocT* alloc, const char* name) {
  const auto made = alloc->template NewObj<Container>(ipc::MemContext(),
                                                      typename Container::allocator_type(alloc));
  HSHM_CHECK(!made.IsNull());
  HSHM_CHECK(alloc->SetRoot(name, made));
  return made.ptr_;
}

}  // namespace hshm::test

#endif  // HSHM_UNIT_TESTS_STL_ROWS_H_
