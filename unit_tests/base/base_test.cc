#include <cerrno>
#include <cstring>
#include <set>
#include <string>

#include "hermes_shm/base/bits.h"
#include "hermes_shm/base/error.h"
#include "hermes_shm/base/types.h"
#include "hermes_shm/base/units.h"
#include "support/catch.h"

using hshm::Error;
using hshm::ErrorCode;
using hshm::ErrorCodeName;
namespace bits = hshm::bits;

TEST_CASE("Error codes have the documented names, each its own") {
  CHECK(std::string(ErrorCodeName(ErrorCode::kNone)) == "None");
  CHECK(std::string(ErrorCodeName(ErrorCode::kBadName)) == "BadName");
  CHECK(std::string(ErrorCodeName(ErrorCode::kTruncated)) == "Truncated");
  CHECK(std::string(ErrorCodeName(ErrorCode::kCorrupt)) == "Corrupt");
  CHECK(std::string(ErrorCodeName(ErrorCode::kNoSpace)) == "NoSpace");
  CHECK(std::string(ErrorCodeName(ErrorCode::kHolderStopped)) == "HolderStopped");
  CHECK(std::string(ErrorCodeName(ErrorCode::kSystem)) == "System");
  std::set<std::string> names;
  const auto last = static_cast<uint32_t>(ErrorCode::kSystem);
  for (uint32_t code = 0; code <= last; ++code) {
    names.insert(ErrorCodeName(static_cast<ErrorCode>(code)));
  }
  CHECK(names.size() == last + 1);
  CHECK(std::string(ErrorCodeName(static_cast<ErrorCode>(last + 1))) == "Unknown");
}

TEST_CASE("Error says its name, the sentence, and what the system said") {
  const Error plain(ErrorCode::kBadName, "the name is empty.");
  CHECK(std::string(plain.what()) == "hshm: BadName: the name is empty.");
  CHECK(plain.code() == ErrorCode::kBadName);
  CHECK(plain.os_errno() == 0);
  const Error system(ErrorCode::kNoSpace, "no room.", ENOSPC);
  CHECK(std::string(system.what()) ==
        std::string("hshm: NoSpace: no room. [") + std::strerror(ENOSPC) + "]");
  CHECK(system.os_errno() == ENOSPC);
}

TEST_CASE("Bits round to powers of two as defined, at the edges too") {
  CHECK_FALSE(bits::IsPowerOfTwo(0));
  CHECK(bits::IsPowerOfTwo(1));
  CHECK_FALSE(bits::IsPowerOfTwo(3));
  CHECK(bits::IsPowerOfTwo(uint64_t{1} << 63));
  CHECK(bits::AlignDown(4097, 4096) == 4096);
  CHECK(bits::AlignUp(4096, 4096) == 4096);
  CHECK(bits::AlignUp(4097, 4096) == 8192);
  CHECK(bits::DivideUp(~uint64_t{0}, 2) == uint64_t{1} << 63);
  for (uint32_t k = 0; k < 64; ++k) {
    const uint64_t power = uint64_t{1} << k;
    CHECK(bits::FloorLog2(power) == k);
    CHECK(bits::CeilLog2(power) == k);
    if (k > 0) CHECK(bits::FloorLog2(2 * (power - 1) + 1) == k);
    if (k > 1) CHECK(bits::CeilLog2(power - 1) == k);
    if (k < 63) CHECK(bits::CeilLog2(power + 1) == k + 1);
  }
  CHECK(bits::CeilLog2(0) == 0);
}

TEST_CASE("Units are binary multiples") {
  CHECK(hshm::Unit<size_t>::Kilobytes(3) == 3072);
  CHECK(hshm::Unit<uint64_t>::Gigabytes(2) == uint64_t{1} << 31);
  using hshm::operator""_MiB;
  CHECK(5_MiB == 5 * 1024 * 1024);
}

TEST_CASE("Ids compare by value, and the null ones are null") {
  CHECK(hipc::MemoryBackendId::Get(4) == hipc::MemoryBackendId(4));
  CHECK(hipc::AllocatorId::Null().IsNull());
  CHECK_FALSE(hipc::AllocatorId(0, 1).IsNull());
  CHECK(hipc::AllocatorId(1, 2).ToIndex() == (uint64_t{1} << 32) + 2);
  CHECK_FALSE(HSHM_DEFAULT_MEM_CTX.IsValid());
  CHECK(hipc::MemContext(0, 0).IsValid());
}
