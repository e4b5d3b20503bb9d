/** A segment that two processes make longer at once, one between any two instructions of the other.
 */
#include <unistd.h>

#include <random>
#include <thread>

#include "backend/child.h"
#include "backend/error_code.h"
#include "backend/test_segment.h"
#include "hermes_shm/base/units.h"
#include "hermes_shm/memory/backend/membership.h"
#include "hermes_shm/memory/backend/posix_shm_mmap.h"
#include "support/catch.h"
#include "support/stepped_call.h"

namespace hshm::ipc::test {
namespace {

TEST_CASE("How far a segment has grown is never noted as less than what anybody has committed") {
  std::minstd_rand random(1);
  for (int round = 0; round < 10; ++round) {
    CAPTURE(round);
    TestSegment segment;
    PosixShmMmap backend;
    backend.shm_init(MemoryBackendId(1), 1_MiB, segment.url(), {.max_size_bytes_ = 64_MiB});
    const Region region = backend.region();
    REQUIRE(region.services_->Commit(32_MiB, 4096));  // the file is as long as they will say
    Atomic<uint64_t>& grown = backend.header()->grown_bytes_;
    grown.store(1_MiB);
    uint64_t others = 1_MiB;
    bool is_committed = false;
    hshm::test::SteppedCall::Run([&] { is_committed = region.services_->Commit(2_MiB, 4096); },
                                 [&] {
                                   if (random() % 8 != 0) return true;
                                   others += 4096;  // in small steps, so that ours is needed, too
                                   if (grown.load() < others) grown.store(others);
                                   return others < 2_MiB;
                                 });
    REQUIRE(is_committed);
    REQUIRE(grown.load() >= 2_MiB + 4096);
    REQUIRE(grown.load() >= others);
    REQUIRE(CodeOf([&] { PosixShmMmap().shm_attach(segment.url()); }) == ErrorCode::kNone);
  }
}

TEST_CASE("A forked child joins once, whenever its second thread comes to join as well") {
  TestSegment segment;
  PosixShmMmap backend;
  backend.shm_init(MemoryBackendId(1), 1_MiB, segment.url());
  Membership member(backend.region());
  const uint32_t parents = member.slot();
  for (const uint32_t instructions : {0, 100, 300, 1000, 3000, 10'000}) {
    CAPTURE(instructions);
    REQUIRE(RunInChild([&] {
              uint32_t left = instructions;
              bool has_joined = false;
              bool has_other = false;
              std::thread other;
              hshm::test::SteppedCall::Run([&] { has_joined = member.Rejoin(); },
                                           [&] {
                                             if (left-- != 0) return true;
                                             other =
                                                 std::thread([&] { has_other = member.Rejoin(); });
                                             usleep(5000);
                                             return false;
                                           });
              if (other.joinable()) other.join();
              if (!has_joined || (left == ~uint32_t{0} && !has_other)) return 1;
              if (member.slot() == parents || member.IsAlive(parents + 2)) return 2;
              return member.IsAlive(parents + 1) ? 0 : 3;
            }) == 0);
  }
}

}  // namespace
}  // namespace hshm::ipc::test
