/** A page that is taken from a sleeper which wakes up between any two instructions of the taker. */
#include <atomic>
#include <csignal>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "multi_process/heap.h"
#include "support/child_process.h"
#include "support/metered_services.h"
#include "support/stepped_call.h"

namespace hshm::test {
namespace {

using Config = ipc::multi_process::SmallPages;
using Alloc = SmallMultiProcessAllocator;
using Pages = ipc::multi_process::PageTable<Config>;
using ipc::multi_process::HeadWord;
using ipc::multi_process::HeapId;
using ipc::multi_process::HeapRecord;
using ipc::multi_process::PageEntry;

constexpr uint64_t kRegion = 256 << 10;
constexpr uint64_t kPage = Config::kPageBytes;
constexpr uint64_t kBytes = 480;
constexpr size_t kPageful = 8;

using Root = ipc::multi_process::RootTier<Config>;
Root RootOf(const ipc::Region& region) {
  const auto* header = region.At<ipc::AllocatorHeader>(ipc::AllocatorOffsetFor(region.size_bytes_));
  return Root(region, header->core_offset_, nullptr);
}
HeapRecord<Config>* FindRecord(const Root& root, const ipc::Region& region, HeapId id) {
  HeapRecord<Config>* found = nullptr;
  root.ForEachSpan([&](uint32_t page, uint32_t) {
    if (!Pages::HoldsRecords(root.pages().Entry(page))) return;
    auto* records = region.At<HeapRecord<Config>>(page * kPage);
    for (size_t i = 0; i < kPage / sizeof(*records); ++i) {
      if (records[i].id_.Get() == id) found = &records[i];
    }
  });
  return found;
}

/** A full region. Of the sleeper's pages of small blocks one is wholly free, as nobody knows. */
struct Sleeping {
  Sleeping() {
    backend_.shm_init(ipc::MemoryBackendId(1), kRegion);
    region_ = backend_.region();
    meter_ = std::make_unique<Meter>(region_.services_);
    region_.services_ = meter_.get();
    sleeper_.shm_init(kId, 0, region_);
    taker_.shm_attach(region_);
    for (size_t i = 0; i < 4 * kPageful; ++i) {
      const OffsetPtr<> block = sleeper_.AllocateOffset(kCtx, kBytes);
      blocks_[block.load() / kPage].push_back(block);
    }
    static_cast<void>(FillUp(&sleeper_, {8 * kPage, kPage, kBytes}));
    static_cast<void>(FillUp(&taker_, {8 * kPage, kPage, kBytes}));
    const Root root = RootOf(region_);
    pages_ = root.pages();
    FreePage();
    TakePage();  // so that the taker knows where the sleeper's lock is
    page_ = FreePage();
    entry_ = pages_.Entry(page_);
    id_ = entry_->owner_.Get();
    root.ForEachHead([&](uint32_t granule, uint32_t word) {
      const uint32_t end = root.FirstPageOf(granule + HeadWord::Granules(word));
      if (page_ >= root.FirstPageOf(granule) && page_ < end) {
        head_ = region_.At<uint32_t>(root.header().heads_offset_) + granule;
      }
      return true;
    });
    record_ = FindRecord(root, region_, id_);
    REQUIRE(record_ != nullptr);
    REQUIRE(Pages::Pending(entry_) == kPageful);
  }
  /** The blocks of a page that the sleeper has not in hand are pushed. */
  uint32_t FreePage() {
    auto found = blocks_.begin();
    while (found->second.size() < kPageful || IsInHand(found->first)) ++found;
    FreeAll(&taker_, found->second);
    taker_.Trim();
    const auto page = static_cast<uint32_t>(found->first);
    blocks_.erase(found);
    return page;
  }
  bool IsInHand(uint64_t page) const {
    const uint32_t shape = pages_.Entry(static_cast<uint32_t>(page))->shape_.Get();
    return (shape & ipc::multi_process::kInHand) != 0;
  }
  void TakePage() {
    for (size_t i = 0; i < kPageful; ++i) {
      REQUIRE_FALSE(taker_.AllocateOffset(kCtx, kBytes).IsNull());
    }
  }
  /** The sleeper could go on: the page is its own, and its lock is free. */
  bool CanWake() const {
    return entry_->owner_.Get() == id_ && Pages::Pending(entry_) != 0 &&
           record_->lock_.HolderSlot() == Mutex::kNoSlot;
  }
  /** As its slow path does it. */
  bool LetGo() { return CanWake() && LetGo(page_); }
  bool LetGo(uint32_t page) {
    const LockIdentity me = sleeper_.GetMembership().identity();
    if (!record_->lock_.TakeFree(me)) return false;
    const bool is_own = pages_.Entry(page)->owner_.Get() == id_;
    if (is_own) {
      pages_.Drain(page);
      pages_.Retire(page);
    }
    record_->lock_.Unlock(me);
    return is_own;
  }
  /** A block of the page, if that is the sleeper's still. */
  OffsetPtr<> Allocate() {
    return CanWake() ? sleeper_.AllocateOffset(kCtx, kBytes) : OffsetPtr<>();
  }

  ipc::MallocBackend backend_;
  std::unique_ptr<Meter> meter_;
  ipc::Region region_;
  Alloc sleeper_;
  Alloc taker_;
  std::map<uint64_t, std::vector<OffsetPtr<>>> blocks_;  // by page
  Pages pages_;
  uint32_t page_ = 0;
  PageEntry* entry_ = nullptr;
  uint32_t* head_ = nullptr;  // of the unit in which the page lies
  HeapId id_ = 0;
  HeapRecord<Config>* record_ = nullptr;
};

/** Takes, with the turn after so many instructions behind the taker's question for the sleeper.
 * False when it has ended before. */
bool TakeWith(Sleeping* s, uint32_t instructions, OffsetPtr<>* taken,
              const std::function<void()>& turn) {
  uint32_t left = instructions;
  bool has_come = false;
  const std::function<bool()> between = [&] {
    if (left-- != 0) return true;
    has_come = true;
    turn();
    return false;
  };
  s->meter_->CallWhenAsked(s->sleeper_.GetMembership().slot(),
                           [&] { SteppedCall::Begin(between); });
  *taken = s->taker_.AllocateOffset(kCtx, kBytes);
  SteppedCall::End();
  return has_come;
}

bool IsIn(const Sleeping& s, OffsetPtr<> block) {
  return !block.IsNull() && block.load() / kPage == s.page_;
}

// In instructions: less than there is between two looks at the page. What comes after the most is
// the taker's own heap.
#ifdef __OPTIMIZE__
constexpr uint32_t kStride = 7;
constexpr uint32_t kMost = 1500;
#else  // the build that counts branches
constexpr uint32_t kStride = 21;
constexpr uint32_t kMost = 12'000;
#endif

TEST_CASE("A page is had by its owner or by its taker, wherever the owner goes on to use it") {
  uint32_t by_owner = 0;
  uint32_t by_taker = 0;
  for (uint32_t n = 0; n < kMost; n += kStride) {
    CAPTURE(n);
    Sleeping s;
    OffsetPtr<> own;
    OffsetPtr<> taken;
    if (!TakeWith(&s, n, &taken, [&] { own = s.Allocate(); })) break;
    REQUIRE_FALSE((IsIn(s, own) && IsIn(s, taken)));
    by_owner += IsIn(s, own) ? 1 : 0;
    by_taker += IsIn(s, taken) ? 1 : 0;
    if (n % 30 == 0) REQUIRE(s.sleeper_.Check());
    if (!own.IsNull()) s.sleeper_.FreeOffset(kCtx, own);
    if (!taken.IsNull()) s.taker_.FreeOffset(kCtx, taken);
    if (by_taker == 10) break;  // the owner comes too late from here on
  }
  REQUIRE(by_owner > 0);
}

TEST_CASE("A page is in use or free, wherever its owner lets it go while it is being taken") {
  uint32_t let_go = 0;
  uint32_t by_taker = 0;
  for (uint32_t n = 0; n < kMost; n += kStride) {
    CAPTURE(n);
    Sleeping s;
    bool has_gone = false;
    OffsetPtr<> taken;
    if (!TakeWith(&s, n, &taken, [&] { has_gone = s.LetGo(); })) break;
    let_go += has_gone ? 1 : 0;
    by_taker += has_gone ? 0 : 1;
    // Free or in another's hands, it is there for who is in need.
    const OffsetPtr<> block = taken.IsNull() ? s.taker_.AllocateOffset(kCtx, kBytes) : taken;
    REQUIRE(IsIn(s, block));
    REQUIRE(s.entry_->owner_.Get() != s.id_);
    FillPattern(BytesOf(&s.taker_, block), kBytes, n);
    if (n % 30 == 0) REQUIRE(s.taker_.Check());
    REQUIRE(HasPattern(BytesOf(&s.taker_, block), kBytes, kBytes, n));
    if (by_taker == 10) break;  // the owner comes too late from here on
  }
  REQUIRE(let_go > 0);
}

TEST_CASE("A page is left to its owner, wherever that takes it for a longer span meanwhile") {
  uint32_t opened = 0;
  uint32_t by_taker = 0;
  for (uint32_t n = 0; by_taker < 10 && n < kMost; n += kStride) {
    CAPTURE(n);
    Sleeping s;
    const uint32_t next = s.FreePage();
    REQUIRE(next == s.page_ + 1);
    bool is_open = false;
    OffsetPtr<> taken;
    const bool has_come = TakeWith(&s, n, &taken, [&] {
      if (!s.LetGo() || !s.LetGo(next)) return;
      is_open = s.pages_.OpenSpan(s.page_, 2, s.id_);
      s.entry_->used_.Set(1);
    });
    if (!has_come) break;
    opened += is_open ? 1 : 0;
    by_taker += is_open ? 0 : 1;
    if (!is_open) continue;
    REQUIRE_FALSE(IsIn(s, taken));
    REQUIRE(s.entry_->owner_.Get() == s.id_);
    REQUIRE(s.entry_->span_.Get() == 2);
  }
  REQUIRE(opened > 0);
}

TEST_CASE("A page is left to whom it has come to meanwhile, and who has died since") {
  uint32_t opened = 0;
  uint32_t by_taker = 0;
  for (uint32_t n = 0; by_taker < 10 && n < kMost; n += kStride) {
    CAPTURE(n);
    Sleeping s;
    HeapId dead = 0;
    {
      ipc::Membership member(s.region_);
      dead = ipc::multi_process::MakeHeapId(member.slot(), 2);
    }
    bool is_open = false;
    OffsetPtr<> taken;
    const bool has_come = TakeWith(
        &s, n, &taken, [&] { is_open = s.LetGo() && s.pages_.OpenSpan(s.page_, 1, dead); });
    if (!has_come) break;
    opened += is_open ? 1 : 0;
    by_taker += is_open ? 0 : 1;
    if (!is_open) continue;
    // The sweep before null frees it, as nobody has a block of it; taken it would have been at
    // once.
    if (taken.IsNull()) REQUIRE(s.entry_->owner_.Get() == dead);
    REQUIRE(s.sleeper_.Recover() <= 1);
    REQUIRE(s.sleeper_.Check());
  }
  REQUIRE(opened > 0);
}

TEST_CASE("A page is left to its owner, wherever that has a block of it and goes on to another") {
  uint32_t by_owner = 0;
  uint32_t by_taker = 0;
  for (uint32_t n = 0; by_taker < 10 && n < kMost; n += kStride) {
    CAPTURE(n);
    Sleeping s;
    OffsetPtr<> own;
    OffsetPtr<> taken;
    const bool has_come = TakeWith(&s, n, &taken, [&] {
      own = s.Allocate();
      if (IsIn(s, own)) Pages::PutDown(s.entry_);
    });
    if (!has_come) break;
    by_owner += IsIn(s, own) ? 1 : 0;
    by_taker += IsIn(s, taken) ? 1 : 0;
    REQUIRE_FALSE((IsIn(s, own) && IsIn(s, taken)));
    if (!IsIn(s, own)) continue;
    REQUIRE(s.entry_->owner_.Get() == s.id_);
    Pages::TakeInHand(s.entry_);  // as its heap believes
    s.sleeper_.FreeOffset(kCtx, own);
    if (n % 30 == 0) REQUIRE(s.sleeper_.Check());
  }
  REQUIRE(by_owner > 0);
}

TEST_CASE("A unit of nobody gives nothing to who is in need") {
  Sleeping s;
  const uint32_t word = *s.head_;
  *s.head_ = HeadWord::Make(HeadWord::kUnit, 0, HeadWord::Granules(word));
  const OffsetPtr<> none = s.taker_.AllocateOffset(kCtx, kBytes);
  *s.head_ = word;
  REQUIRE(none.IsNull());
  REQUIRE(IsIn(s, s.taker_.AllocateOffset(kCtx, kBytes)));
  REQUIRE(s.taker_.Check());
}

TEST_CASE(
    "A unit of a slot that none can have gives nothing to who is in need, and stops the sweep") {
  Sleeping s;
  const Ending ending = RunInChild([&] {
    static_cast<void>(s.taker_.CreateTls(kCtx));  // joins
    *s.head_ =
        HeadWord::Make(HeadWord::kUnit, uint32_t{ipc::kMaxSlots} + 1, HeadWord::Granules(*s.head_));
    static_cast<void>(FillUp(&s.taker_, {kBytes}));
  });
  CAPTURE(ending.errors_);
  REQUIRE(ending.status_ == -SIGABRT);
  REQUIRE(ending.errors_.find("Corruption: the word of a unit or large block") !=
          std::string::npos);
}

/** Two threads of a process, of which one sleeps; the process before them is asked for. */
struct Neighbours {
  Neighbours() {
    backend_.shm_init(ipc::MemoryBackendId(1), kRegion);
    region_ = backend_.region();
    meter_ = std::make_unique<Meter>(region_.services_);
    region_.services_ = meter_.get();
    first_.shm_init(kId, 0, region_);
    ours_.shm_attach(region_);
    thread_ = std::thread([this] { Sleep(); });
    while (!is_asleep_) std::this_thread::yield();
    static_cast<void>(FillUp(&ours_, {8 * kPage, kPage, kBytes}));
    const Root root = RootOf(region_);
    pages_ = root.pages();
    for (const auto& [page, blocks] : blocks_) {
      PageEntry* entry = pages_.Entry(static_cast<uint32_t>(page));
      const bool is_in_hand = (entry->shape_.Get() & ipc::multi_process::kInHand) != 0;
      if (blocks.size() < kPageful || is_in_hand) continue;
      page_ = static_cast<uint32_t>(page);
      entry_ = entry;
    }
    REQUIRE(entry_ != nullptr);
    FreeAll(&ours_, blocks_[page_]);
    ours_.Trim();
    REQUIRE(Pages::Pending(entry_) == entry_->used_.Get());
    id_ = entry_->owner_.Get();
    record_ = FindRecord(root, region_, id_);
    REQUIRE(record_ != nullptr);
  }
  ~Neighbours() { WakeUp(); }
  Neighbours(const Neighbours&) = delete;
  Neighbours& operator=(const Neighbours&) = delete;

  /** The sleeper's thread. */
  void Sleep() {
    for (size_t i = 0; i < 4 * kPageful; ++i) {
      const OffsetPtr<> block = ours_.AllocateOffset(kCtx, kBytes);
      blocks_[block.load() / kPage].push_back(block);
    }
    static_cast<void>(FillUp(&ours_, {8 * kPage, kPage, kBytes}));
    is_asleep_ = true;
    is_over_.wait(false);
    ours_.Trim();
  }
  void WakeUp() {
    is_over_ = true;
    is_over_.notify_all();
    if (thread_.joinable()) thread_.join();
  }
  /** The page is free, and the sleeper has not said so to its process yet. */
  bool LetGo() {
    const LockIdentity me = ours_.GetMembership().identity();
    if (entry_->owner_.Get() != id_ || !record_->lock_.TakeFree(me)) return false;
    pages_.Drain(page_);
    pages_.Retire(page_);
    record_->lock_.Unlock(me);
    return true;
  }

  ipc::MallocBackend backend_;
  std::unique_ptr<Meter> meter_;
  ipc::Region region_;
  Alloc first_;
  Alloc ours_;
  std::map<uint64_t, std::vector<OffsetPtr<>>> blocks_;  // by page
  std::atomic<bool> is_asleep_{false};
  std::atomic<bool> is_over_{false};
  std::thread thread_;
  Pages pages_;
  uint32_t page_ = 0;
  PageEntry* entry_ = nullptr;
  HeapId id_ = 0;
  HeapRecord<Config>* record_ = nullptr;
};

TEST_CASE("A page that a thread is letting go waits for it, whoever of its process is in need") {
  uint32_t let_go = 0;
  uint32_t late = 0;
  for (uint32_t n = 0; late < 3 && n < 2 * kMost; n += 2 * kStride) {
    CAPTURE(n);
    Neighbours s;
    bool has_gone = false;
    uint32_t left = n;
    const std::function<bool()> between = [&] {
      if (left-- != 0) return true;
      has_gone = s.LetGo();
      return false;
    };
    s.meter_->CallWhenAsked(s.first_.GetMembership().slot(), [&] { SteppedCall::Begin(between); });
    const OffsetPtr<> taken = s.ours_.AllocateOffset(kCtx, kBytes);
    SteppedCall::End();
    const bool is_taken = !taken.IsNull() && taken.load() / kPage == s.page_;
    let_go += has_gone ? 1 : 0;
    late += has_gone ? 0 : 1;
    s.WakeUp();
    if (!is_taken) REQUIRE(s.ours_.AllocateOffset(kCtx, kBytes).load() / kPage == s.page_);
    if (n % 30 == 0) REQUIRE(s.ours_.Check());
  }
  REQUIRE(let_go > 0);
}

}  // namespace
}  // namespace hshm::test
