#ifndef HSHM_UNIT_TESTS_CONTRACT_SHARED_CLAIMS_H_
#define HSHM_UNIT_TESTS_CONTRACT_SHARED_CLAIMS_H_

#include "contract/thread_claims.h"

/** What mappings and processes that share a region may expect. */
namespace {

TEST_CASE(HSHM_CONTRACT_NAME " works through two mappings of one segment") {
  SuiteFixture f(TestBackend::kShm);
  hshm::ipc::PosixShmMmap other;
  other.shm_attach(f.backend_.name());
  Alloc* there = other.AttachAlloc<Alloc>();
  REQUIRE(there->GetRegion().base_ != f.alloc_->GetRegion().base_);
  REQUIRE(there->GetId() == f.alloc_->GetId());
  std::vector<OffsetPtr<>> blocks;
  for (uint32_t i = 0; i < 500; ++i) {
    Alloc& from = i % 2 == 0 ? *f.alloc_ : *there;
    blocks.push_back(from.AllocateOffset(kCtx, i));
    FillPattern(static_cast<char*>(from.Convert(blocks.back())), i, i);
  }
  REQUIRE(there->Check());
  REQUIRE(f.alloc_->Check());
  for (uint32_t i = 0; i < 500; ++i) {
    Alloc& to = i % 3 == 0 ? *f.alloc_ : *there;
    REQUIRE(HasPattern(static_cast<char*>(to.Convert(blocks[i])), i, i, i));
    to.FreeOffset(kCtx, blocks[i]);
  }
  f.RequireAsNew();
}

constexpr uint32_t kSentBlocks = 400;
struct Sent {
  uint64_t offsets_[kSentBlocks];
};
constexpr const char* kChildName = HSHM_CONTRACT_NAME " in a second process of its own";

/** Runs in the executed child of the next test alone. */
TEST_CASE(HSHM_CONTRACT_NAME " in a second process of its own", "[.child]") {
  const char* segment = std::getenv("HSHM_CONTRACT_SEGMENT");
  REQUIRE(segment != nullptr);
  hshm::ipc::PosixShmMmap backend;
  backend.shm_attach(segment);
  Alloc* alloc = backend.AttachAlloc<Alloc>();
  const auto sent = alloc->template FindRoot<Sent>("sent");
  REQUIRE_FALSE(sent.IsNull());
  for (uint32_t i = 0; i < kSentBlocks; ++i) {
    char* bytes = alloc->template Convert<char>(OffsetPtr<char>(sent->offsets_[i]));
    REQUIRE(HasPattern(bytes, i, i, i));
    alloc->FreeOffset(kCtx, OffsetPtr<>(sent->offsets_[i]));
    const OffsetPtr<> answer = alloc->AllocateOffset(kCtx, 2 * i);
    REQUIRE_FALSE(answer.IsNull());
    FillPattern(static_cast<char*>(alloc->Convert(answer)), 2 * i, i + 1);
    sent->offsets_[i] = answer.load();
  }
  REQUIRE(alloc->Check());
}

TEST_CASE(HSHM_CONTRACT_NAME " lets an executed process free what another allocated") {
  SuiteFixture f(TestBackend::kShm);
  const auto sent = f.alloc_->template NewObj<Sent>(kCtx);
  for (uint32_t i = 0; i < kSentBlocks; ++i) {
    const auto block = f.alloc_->Allocate(kCtx, i);
    FillPattern(block.ptr_, i, i);
    sent->offsets_[i] = block.shm_.off_.load();
  }
  REQUIRE(f.alloc_->SetRoot("sent", sent));
  const int status = ExecTestCase(kChildName, f.backend_.name());
  REQUIRE(WIFEXITED(status));
  REQUIRE(WEXITSTATUS(status) == 0);
  for (uint32_t i = 0; i < kSentBlocks; ++i) {
    const char* bytes = f.alloc_->template Convert<char>(OffsetPtr<char>(sent->offsets_[i]));
    REQUIRE(HasPattern(bytes, 2 * i, 2 * i, i + 1));
    f.alloc_->FreeOffset(kCtx, OffsetPtr<>(sent->offsets_[i]));
  }
  f.alloc_->DelObj(kCtx, sent);
  f.RequireAsNew();
}

TEST_CASE(HSHM_CONTRACT_NAME " keeps blocks of a forked child that has died") {
  SuiteFixture f(TestBackend::kShm);
  const auto number = f.alloc_->template NewObj<uint64_t>(kCtx, 0u);
  const ChildResult result = InForkedChild([&] {
    const auto block = f.alloc_->Allocate(kCtx, 5000);
    FillPattern(block.ptr_, 5000, 9);
    *number = block.shm_.off_.load();
  });
  REQUIRE(result.status_ == 0);
  const auto left = *number;
  REQUIRE(left != 0);
  REQUIRE(HasPattern(f.alloc_->template Convert<char>(OffsetPtr<char>(left)), 5000, 5000, 9));
  f.alloc_->FreeOffset(kCtx, OffsetPtr<>(left));
  f.alloc_->DelObj(kCtx, number);
  f.RequireAsNew();
}

constexpr uint32_t kPlaces = 48;
/** What the killed child of the next test holds, each block with its size and owner at its front.
 */
struct Ledger {
  std::atomic<uint64_t> steps_;
  std::atomic<uint64_t> offsets_[kPlaces];
};

/** Allocates and frees for ever. A block is in the ledger only while it is whole. */
[[noreturn]] void TradeUntilKilled(Alloc& alloc, Ledger& ledger, uint32_t seed) {
  std::mt19937 random(seed);
  for (;; ++ledger.steps_) {
    std::atomic<uint64_t>& place = ledger.offsets_[random() % kPlaces];
    const uint64_t old = place.exchange(0);
    if (old != 0) {
      alloc.FreeOffset(kCtx, OffsetPtr<>(old));
      continue;
    }
    const Parcel parcel{random() % 3000, static_cast<uint32_t>(random())};
    const OffsetPtr<> got = alloc.AllocateOffset(kCtx, sizeof(parcel) + parcel.size_);
    if (got.IsNull()) continue;
    char* bytes = static_cast<char*>(alloc.Convert(got));
    std::memcpy(bytes, &parcel, sizeof(parcel));
    FillPattern(bytes + sizeof(parcel), parcel.size_, parcel.owner_);
    place.store(got.load());
  }
}

/** Kills a child somewhere in its calls. Everything it held is whole, and one block may be lost. */
void KillOnce(uint32_t seed) {
  CAPTURE(seed);
  SuiteFixture f(TestBackend::kShm);
  const auto ledger = f.alloc_->template NewObj<Ledger>(kCtx);
  const uint64_t steps = seed % 500;
  const pid_t child = fork();
  REQUIRE(child >= 0);
  if (child == 0) TradeUntilKilled(*f.alloc_, *ledger, seed);
  while (ledger->steps_.load() < steps) {
    REQUIRE(waitpid(child, nullptr, WNOHANG) == 0);  // it must not end by itself
    std::this_thread::yield();
  }
  for (uint32_t spin = seed % 1000; spin != 0; --spin) (void)ledger->steps_.load();
  REQUIRE(kill(child, SIGKILL) == 0);
  REQUIRE(waitpid(child, nullptr, 0) == child);
  const OffsetPtr<> first = f.alloc_->AllocateOffset(kCtx, 100);
  REQUIRE(f.alloc_->Check());
  if (Traits::kReusesEveryBlock) REQUIRE_FALSE(first.IsNull());  // else it may be full
  if (!first.IsNull()) f.alloc_->FreeOffset(kCtx, first);
  for (const std::atomic<uint64_t>& place : ledger->offsets_) {
    REQUIRE(CheckAndFree(*f.alloc_, place.load()));
  }
  REQUIRE(f.alloc_->Check());
  f.alloc_->DelObj(kCtx, ledger);
  if (Traits::kStatsReturn && Traits::kReusesEveryBlock) {
    REQUIRE(f.alloc_->GetCurrentlyAllocatedSize() <= f.first_bytes_ + 2 * 3100);
  }
}

TEST_CASE(HSHM_CONTRACT_NAME " goes on when a process is killed in its calls") {
  const uint32_t seed = std::random_device{}();
  WARN("seed " << seed);
  std::mt19937 random(seed);
  for (int trial = 0; trial < Traits::kKills; ++trial) KillOnce(static_cast<uint32_t>(random()));
}

}  // namespace

#endif  // HSHM_UNIT_TESTS_CONTRACT_SHARED_CLAIMS_H_
