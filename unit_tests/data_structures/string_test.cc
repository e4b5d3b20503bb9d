#include "hermes_shm/data_structures/string.h"

#include <random>
#include <string>

#include "data_structures/test_allocator.h"
#include "hermes_shm/base/error.h"
#include "support/catch.h"
#include "support/seed.h"

using hshm::ipc::OffsetPtr;
using hshm::ipc::SharedString;
using hshm::test::TestAllocator;
using String = hshm::ipc::string<TestAllocator>;

TEST_CASE("string holds up to 23 characters without a block of their own") {
  TestAllocator alloc;
  String text;
  text.shm_init(&alloc);
  REQUIRE(text.empty());
  REQUIRE(*text.c_str() == 0);
  for (char c = 'a'; c < 'a' + 23; ++c) REQUIRE(text.push_back(c));
  REQUIRE(alloc.live_blocks() == 1);
  REQUIRE(text == "abcdefghijklmnopqrstuvw");
  REQUIRE(text.push_back('x'));
  REQUIRE(alloc.live_blocks() == 2);
  REQUIRE(text == "abcdefghijklmnopqrstuvwx");
  text.release();
  REQUIRE(text.empty());
  REQUIRE(alloc.live_blocks() == 1);
  text.shm_destroy();
  REQUIRE(alloc.live_blocks() == 0);
}

TEST_CASE("string changes like std::string") {
  std::mt19937_64 random(hshm::test::PrintedSeed("string model"));
  TestAllocator alloc;
  String text;
  text.shm_init(&alloc, "start");
  std::string model = "start";
  for (int i = 0; i < 20000; ++i) {
    const std::string piece(random() % 40, static_cast<char>('a' + random() % 26));
    const size_t from = random() % (model.size() + 1);
    switch (random() % 6) {
      case 0:
        REQUIRE(text.assign(piece));
        model = piece;
        break;
      case 1:
        REQUIRE(text.append(text.view().substr(from)));  // a part of itself
        model.append(std::string(model.substr(from)));
        break;
      case 2:
        REQUIRE(text.assign(text.view().substr(from)));
        model = std::string(model.substr(from));
        break;
      case 3:
        REQUIRE(text.reserve(random() % 100));
        break;
      default:
        REQUIRE(text.append(piece));
        model += piece;
        break;
    }
    if (model.size() > 5000) {
      text.clear();
      model.clear();
    }
    REQUIRE(text.view() == model);
    REQUIRE(text.c_str()[text.size()] == 0);
    REQUIRE(text.capacity() >= text.size());
  }
  REQUIRE(text.str() == model);
  REQUIRE(text.compare("~") < 0);
  REQUIRE((text < std::string_view("~")));
  text.shm_destroy();
  REQUIRE(alloc.live_blocks() == 0);
}

TEST_CASE("string without room stays as it was") {
  TestAllocator alloc;
  String text;
  text.shm_init(&alloc, "0123456789");
  alloc.Allow(0);
  REQUIRE_FALSE(text.append("0123456789 and more"));
  REQUIRE_FALSE(text.assign("a text of more than 23 characters"));
  REQUIRE_FALSE(text.reserve(100));
  REQUIRE(text == "0123456789");
  REQUIRE_FALSE(text.reserve(~size_t{0}));
  String other;
  REQUIRE_THROWS_AS(other.shm_init(&alloc), hshm::Error);
  alloc.Allow(1);
  REQUIRE_THROWS_AS(other.shm_init(&alloc, std::string(100, 'x')), hshm::Error);
  REQUIRE(alloc.live_blocks() == 1);  // nothing half-made
}

TEST_CASE("string refuses what no string can hold, and keeps what it has") {
  TestAllocator alloc;
  String text;
  text.shm_init(&alloc, "some");
  REQUIRE_FALSE(text.append(std::string_view(text.data(), ~size_t{0} / 4)));
  REQUIRE_FALSE(text.reserve(~size_t{0} / 4 + 1));
  REQUIRE(text.reserve(4));  // it is there already
  REQUIRE(text == "some");
  REQUIRE(alloc.live_blocks() == 1);
}

TEST_CASE("string may be zeroed memory inside a shared struct") {
  struct Record {
    uint64_t number_;
    SharedString name_;
  };
  TestAllocator alloc;
  const uint64_t at = alloc.AllocateOffset({}, sizeof(Record)).load();
  std::memset(alloc.GetRegion().At<char>(at), 0, sizeof(Record));
  String name;
  name.shm_attach(&alloc, OffsetPtr<>(at + offsetof(Record, name_)));
  REQUIRE(name.empty());
  REQUIRE(name.assign("a name that needs a block of its own"));
  String again;
  again.shm_attach(&alloc, name.offset());
  REQUIRE(again == name);
  again.release();
  REQUIRE(alloc.live_blocks() == 1);
  REQUIRE_THROWS_AS(again.shm_attach(&alloc, OffsetPtr<>()), hshm::Error);
  REQUIRE_THROWS_AS(again.shm_attach(&alloc, OffsetPtr<>(uint64_t{1} << 40)), hshm::Error);
}
