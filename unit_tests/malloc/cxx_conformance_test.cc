#include <cstdint>
#include <cstring>
#include <new>
#include <string>
#include <vector>

#include "malloc/preloaded.h"
#include "support/catch.h"

using hshm::test::IsAligned;
using hshm::test::Opaque;

namespace {

constexpr size_t kFarTooMuch = size_t{1} << 46;
int handler_calls = 0;
void* reserve = nullptr;

}  // namespace

TEST_CASE("operator new, new[] and all deletes") {
  for (const size_t size : {size_t{0}, size_t{1}, size_t{40}, size_t{3000}, size_t{200000}}) {
    void* block = Opaque(::operator new(size));
    REQUIRE(block != nullptr);
    CHECK(IsAligned(block, 16));
    std::memset(block, 1, size);
    ::operator delete(block);
    block = Opaque(::operator new(size));
    ::operator delete(block, size);
    block = Opaque(::operator new[](size));
    ::operator delete[](block);
    block = Opaque(::operator new[](size));
    ::operator delete[](block, size);
    block = Opaque(::operator new(size, std::nothrow));
    REQUIRE(block != nullptr);
    ::operator delete(block, std::nothrow);
    block = Opaque(::operator new[](size, std::nothrow));
    REQUIRE(block != nullptr);
    ::operator delete[](block, std::nothrow);
  }
  ::operator delete(Opaque<void*>(nullptr));
}

TEST_CASE("operator new with an alignment, and its deletes") {
  for (size_t bytes = 1; bytes <= 65536; bytes *= 4) {
    const auto alignment = static_cast<std::align_val_t>(bytes);
    void* block = Opaque(::operator new(100, alignment));
    CHECK(IsAligned(block, bytes));
    ::operator delete(block, alignment);
    block = Opaque(::operator new[](100, alignment));
    CHECK(IsAligned(block, bytes));
    ::operator delete[](block, 100, alignment);
    block = Opaque(::operator new(100, alignment, std::nothrow));
    CHECK(IsAligned(block, bytes));
    ::operator delete(block, alignment, std::nothrow);
    block = Opaque(::operator new[](100, alignment, std::nothrow));
    CHECK(IsAligned(block, bytes));
    ::operator delete[](block, alignment, std::nothrow);
  }
}

TEST_CASE("No memory: operator new throws bad_alloc that the program catches") {
  CHECK_THROWS_AS(::operator new(Opaque(kFarTooMuch)), std::bad_alloc);
  CHECK_THROWS_AS(::operator new[](Opaque(kFarTooMuch)), std::bad_alloc);
  CHECK_THROWS_AS(::operator new (Opaque(kFarTooMuch), std::align_val_t{64}), std::bad_alloc);
  CHECK_THROWS_AS(std::vector<char>(Opaque(kFarTooMuch)), std::bad_alloc);
  CHECK(std::uncaught_exceptions() == 0);
}

TEST_CASE("No memory: the nothrow forms return null") {
  CHECK(::operator new(Opaque(kFarTooMuch), std::nothrow) == nullptr);
  CHECK(::operator new[](Opaque(kFarTooMuch), std::nothrow) == nullptr);
  CHECK(::operator new (Opaque(kFarTooMuch), std::align_val_t{64}, std::nothrow) == nullptr);
  CHECK(::operator new[](Opaque(kFarTooMuch), std::align_val_t{64}, std::nothrow) == nullptr);
  CHECK(std::uncaught_exceptions() == 0);
}

TEST_CASE("The new handler is called until it gives up, by the nothrow form too") {
  handler_calls = 0;
  std::set_new_handler([] {
    if (++handler_calls == 3) std::set_new_handler(nullptr);
  });
  CHECK_THROWS_AS(::operator new(Opaque(kFarTooMuch)), std::bad_alloc);
  CHECK(handler_calls == 3);
  handler_calls = 0;
  std::set_new_handler([] {
    ++handler_calls;
    throw std::bad_alloc();
  });
  CHECK(::operator new(Opaque(kFarTooMuch), std::nothrow) == nullptr);
  CHECK(handler_calls == 1);
  CHECK(std::uncaught_exceptions() == 0);
  std::set_new_handler(nullptr);
}

TEST_CASE("operator new tries again after a handler that gave memory back") {
  // Nearly all of the heap in one block: a second one fits only once the first has gone.
  size_t size = size_t{1} << 46;
  while ((reserve = std::malloc(size)) == nullptr) size -= size / 16;
  std::set_new_handler([] {
    std::free(reserve);
    reserve = nullptr;
    std::set_new_handler(nullptr);
  });
  void* block = ::operator new(Opaque(size - size / 8));
  CHECK(block != nullptr);
  CHECK(reserve == nullptr);
  ::operator delete(block);
  std::set_new_handler(nullptr);
}

TEST_CASE("Objects of over-aligned types are aligned in new and in vectors") {
  struct alignas(256) Wide {
    char bytes_[256];
  };
  const Wide* one = Opaque(new Wide);
  CHECK(IsAligned(one, 256));
  delete one;
  const std::vector<Wide> several(10);
  CHECK(IsAligned(several.data(), 256));
}
