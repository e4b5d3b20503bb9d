/** A ScalablePageAllocator whose system refuses memory in the middle, and whose words are wrong. */
#include <algorithm>
#include <atomic>
#include <csignal>
#include <cstring>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "backend/error_code.h"
#include "hermes_shm/memory/allocator/scalable_page_allocator.h"
#include "hermes_shm/memory/backend/malloc_backend.h"
#include "support/catch.h"
#include "support/child_process.h"
#include "support/metered_services.h"

namespace hshm::ipc::test {
namespace {

using hshm::test::Ending;
using hshm::test::RunInChild;
using Config = multi_process::LargePages;
using Header = scalable_page::ScalableHeader<Config>;
using Marks = scalable_page::PageMarks<Config>;
using multi_process::ClassOf;
using multi_process::PageEntry;

const MemContext kCtx = HSHM_DEFAULT_MEM_CTX;
constexpr uint64_t kPage = Config::kPageBytes;

struct MeteredHeap {
  explicit MeteredHeap(uint64_t region_bytes = 8 << 20) {
    backend_.shm_init(MemoryBackendId(1), region_bytes);
    region_ = backend_.region();
    meter_ = std::make_unique<hshm::test::Meter>(region_.services_);
    region_.services_ = meter_.get();
    heap_.shm_init(AllocatorId(1, 0), 0, region_);
    header_ = region_.At<Header>(
        region_.At<AllocatorHeader>(AllocatorOffsetFor(region_bytes))->core_offset_);
  }
  OffsetPtr<> Get(uint64_t size) { return heap_.AllocateOffset(kCtx, size); }
  void Put(OffsetPtr<> block) { heap_.FreeOffset(kCtx, block); }
  std::vector<OffsetPtr<>> Fill(uint64_t size) {
    std::vector<OffsetPtr<>> blocks;
    for (OffsetPtr<> block; !(block = Get(size)).IsNull();) blocks.push_back(block);
    return blocks;
  }
  void PutAll(const std::vector<OffsetPtr<>>& blocks) {
    for (const OffsetPtr<> block : blocks) Put(block);
  }
  uint64_t DataBytes() const { return (header_->page_count_ - header_->first_page_) * kPage; }
  PageEntry* Entry(uint64_t offset) const {
    return region_.At<PageEntry>(header_->table_offset_) + offset / kPage;
  }
  /** How a child ends that runs the body. */
  template <typename Body>
  bool StopsWith(const std::string& sentence, Body body) const {
    const Ending ending = RunInChild(body);
    UNSCOPED_INFO(sentence << " in: " << ending.errors_);
    return ending.status_ == -SIGABRT && ending.errors_.find(sentence) != std::string::npos;
  }

  MallocBackend backend_;
  std::unique_ptr<hshm::test::Meter> meter_;
  Region region_;
  ScalablePageAllocator heap_;
  Header* header_ = nullptr;
};

TEST_CASE("ScalablePageAllocator loses nothing at whichever step the system has no more memory") {
  for (uint64_t commits = 0; commits < 24; ++commits) {
    CAPTURE(commits);
    MeteredHeap f;
    f.meter_->Allow(commits);
    std::vector<std::vector<OffsetPtr<>>> blocks;
    for (const uint64_t size : {1000, 40000, 300000}) blocks.push_back(f.Fill(size));
    REQUIRE(f.meter_->refused() > 0);
    REQUIRE(f.heap_.Check());
    for (const auto& some : blocks) f.PutAll(some);
    REQUIRE(f.heap_.GetCurrentlyAllocatedSize() == 0);
    f.meter_->Allow(~uint64_t{0});
    const OffsetPtr<> all = f.Get(f.DataBytes());
    REQUIRE_FALSE(all.IsNull());
    f.Put(all);
    REQUIRE(f.heap_.Check());
  }
}

TEST_CASE("ScalablePageAllocator describes one page at a time where there is memory for no more") {
  MeteredHeap whole;
  const size_t all = whole.Fill(1000).size();
  MeteredHeap f;
  f.meter_->RefuseAbove(3 * sizeof(Marks), f.header_->first_page_ * kPage);
  const auto blocks = f.Fill(1000);
  REQUIRE(f.meter_->refused() > 0);
  REQUIRE(blocks.size() == all);
  REQUIRE(f.heap_.Check());
}

TEST_CASE("ScalablePageAllocator leaves a run as it was when there is no memory to lengthen it") {
  constexpr uint64_t kLonger = 40 << 20;  // in steps of 16 MiB
  uint64_t commits = 0;
  for (;; ++commits) {
    CAPTURE(commits);
    MeteredHeap f(64 << 20);
    const OffsetPtr<> run = f.Get(3 * kPage);
    std::memset(f.heap_.Convert(run), 0x77, 3 * kPage);
    f.meter_->Allow(commits);
    const bool is_longer = f.heap_.ResizeInPlace(kCtx, run, kLonger);
    f.meter_->Allow(~uint64_t{0});
    REQUIRE(f.heap_.GetUsableSize(run) == (is_longer ? kLonger : 3 * kPage));
    REQUIRE(f.heap_.GetCurrentlyAllocatedSize() == (is_longer ? kLonger : 3 * kPage));
    const char* bytes = static_cast<const char*>(f.heap_.Convert(run));
    REQUIRE(std::all_of(bytes, bytes + 3 * kPage, [](char byte) { return byte == 0x77; }));
    REQUIRE(f.heap_.Check());
    const OffsetPtr<> wall = f.Get(kPage + 1);
    REQUIRE_FALSE(wall.IsNull());
    f.Put(wall);
    f.Put(run);
    REQUIRE_FALSE(f.Get(f.DataBytes()).IsNull());
    if (is_longer) break;
  }
  REQUIRE(commits > 4);  // of what describes the pages, then of the pages themselves
}

TEST_CASE("ScalablePageAllocator says no to what no region of that size can have") {
  MeteredHeap f((8 << 20) + 4096);  // not a whole page at its end
  const uint64_t region_bytes = f.region_.size_bytes_;
  REQUIRE(f.Get(region_bytes + 1).IsNull());
  REQUIRE(f.Get(region_bytes).IsNull());
  REQUIRE(f.heap_.AlignedAllocateOffset(kCtx, 100, uint64_t{16} << 20).IsNull());
  REQUIRE(f.heap_.AlignedAllocateOffset(kCtx, kPage + 1, 8 << 20).IsNull());
  constexpr uint64_t kWrapped = uint64_t{kPage} << 32;  // no page in 32 bits
  REQUIRE(f.heap_.AlignedAllocateOffset(kCtx, 100, kWrapped).IsNull());
  const OffsetPtr<> run = f.Get(2 * kPage);
  REQUIRE_FALSE(f.heap_.ResizeInPlace(kCtx, run, region_bytes));
  REQUIRE_FALSE(f.heap_.ResizeInPlace(kCtx, run, uint64_t{1} << 40));
  REQUIRE_FALSE(f.heap_.ResizeInPlace(kCtx, run, kWrapped + 3 * kPage));
  REQUIRE(f.heap_.ReallocateOffset(kCtx, run, uint64_t{1} << 40).IsNull());
  REQUIRE(f.heap_.GetUsableSize(run) == 2 * kPage);
  REQUIRE(f.heap_.Check());
}

TEST_CASE("ScalablePageAllocator shrinks a block where it is when there is no room to move it") {
  MeteredHeap f;
  const OffsetPtr<> run = f.Get(3 * kPage);
  std::memset(f.heap_.Convert(run), 0x33, 100);
  const auto rest = f.Fill(kPage + 1);
  const auto small = f.Fill(100);
  REQUIRE(f.heap_.ReallocateOffset(kCtx, run, 100) == run);  // to another class: it has to move
  REQUIRE(f.heap_.ReallocateOffset(kCtx, run, 4 * kPage).IsNull());
  REQUIRE(static_cast<const char*>(f.heap_.Convert(run))[99] == 0x33);
  f.PutAll(rest);
  f.PutAll(small);
  const OffsetPtr<> moved = f.heap_.ReallocateOffset(kCtx, run, 100);
  REQUIRE_FALSE(moved == run);
  REQUIRE(static_cast<const char*>(f.heap_.Convert(moved))[99] == 0x33);
  f.Put(moved);
  REQUIRE(f.heap_.GetCurrentlyAllocatedSize() == 0);
}

TEST_CASE("ScalablePageAllocator serves a large block by pages of its own when no wide page fits") {
  MeteredHeap f;
  std::vector<OffsetPtr<>> runs = f.Fill(kPage + 1);  // two pages each
  const OffsetPtr<> last = runs.back();
  f.Put(last);
  const OffsetPtr<> block = f.Get(kPage / 2 + 100);  // whose pages are eight in a row
  REQUIRE_FALSE(block.IsNull());
  REQUIRE(f.heap_.GetUsableSize(block) == kPage);
  f.Put(block);
  REQUIRE(f.heap_.Check());
}

TEST_CASE("ScalablePageAllocator stops at words that would give one page to two") {
  MeteredHeap f;
  const OffsetPtr<> run = f.Get(3 * kPage);
  const OffsetPtr<> next = f.Get(3 * kPage);
  const OffsetPtr<> small = f.Get(1000);
  f.Put(next);
  REQUIRE(f.StopsWith("Corruption: the owner of a free page", [&] {
    for (uint64_t page = f.header_->first_page_; page < f.header_->frontier_.load(); ++page) {
      PageEntry* entry = f.Entry(page * kPage);
      if (entry->owner_.Get() == multi_process::kFreePage) entry->owner_.Set(77);
    }
    static_cast<void>(f.Get(3 * kPage));
  }));
  REQUIRE(f.StopsWith("Corruption: the owner of a free page", [&] {
    f.Entry(next.load())->owner_.Set(77);
    static_cast<void>(f.heap_.ResizeInPlace(kCtx, run, 5 * kPage));
  }));
  REQUIRE(f.StopsWith("Corruption: the marks of a page", [&] {
    auto* marks = f.region_.At<Marks>(f.header_->marks_offset_) + small.load() / kPage;
    for (auto& word : marks->words_) word.Set(~uint64_t{0});
    static_cast<void>(f.Get(1000));
  }));
  REQUIRE(f.heap_.Check());
}

TEST_CASE("ScalablePageAllocator stops at a list of pages with room that names another page") {
  MeteredHeap f;
  const OffsetPtr<> small = f.Get(1000);
  const OffsetPtr<> other = f.Get(48);
  const OffsetPtr<> run = f.Get(3 * kPage);
  const auto named = [&](uint64_t page) {
    return f.StopsWith("Corruption: a list of pages with room", [&] {
      const auto link = static_cast<uint32_t>(page + 1);  // the first member of a list
      std::memcpy(static_cast<void*>(&f.header_->classes_[ClassOf(1000)].roomy_), &link,
                  sizeof(link));
      static_cast<void>(f.Get(1000));
    });
  };
  REQUIRE(named(other.load() / kPage));           // of another class
  REQUIRE(named(run.load() / kPage));             // of none
  REQUIRE(named(f.header_->first_page_ - 1));     // of the headers
  REQUIRE(named(f.header_->frontier_.load()));    // not opened yet
  REQUIRE(named(f.header_->page_count_ + 1000));  // of no region
  REQUIRE_FALSE(named(small.load() / kPage));     // its own: nothing stops
  REQUIRE(f.heap_.Check());
}

TEST_CASE("ScalablePageAllocator refuses what lies behind the last block of a page") {
  MeteredHeap f;
  const OffsetPtr<> block = f.Get(48);  // 1365 of them, and 16 bytes
  const uint64_t behind = block.load() / kPage * kPage + kPage / 48 * 48;
  REQUIRE(f.StopsWith("InvalidFree", [&] { f.Put(OffsetPtr<>(behind)); }));
  REQUIRE(f.StopsWith("InvalidFree", [&] { f.Put(OffsetPtr<>(block.load() + 16)); }));
  REQUIRE(f.StopsWith("DoubleFree", [&] { f.Put(OffsetPtr<>(behind - 48)); }));
  f.Put(block);
  REQUIRE(f.heap_.Check());
}

/** In a child: a thread frees the block and waits for a lock, while its page becomes another's. */
template <typename Change>
void FreeMeanwhile(MeteredHeap* f, Mutex* lock, OffsetPtr<> block, Change change) {
  Membership other(f->region_);
  if (lock->Lock(other.identity(), 0) != LockResult::kLocked) return;
  std::thread thread([&] { f->Put(block); });
  const auto* const word = reinterpret_cast<const std::atomic<uint32_t>*>(lock);
  while ((word->load() >> 31) == 0) std::this_thread::yield();  // until it sleeps
  change();
  lock->Unlock(other.identity());
  thread.join();
}

TEST_CASE("ScalablePageAllocator frees no block whose page became another's while it waited") {
  MeteredHeap f;
  const OffsetPtr<> run = f.Get(3 * kPage);
  const OffsetPtr<> small = f.Get(1000);
  REQUIRE(f.StopsWith("InvalidFree: FreeOffset", [&] {
    FreeMeanwhile(&f, &f.header_->pages_lock_, run, [&] {
      f.Entry(run.load())
          ->shape_.Set(multi_process::MakeShape(multi_process::kKindClass, ClassOf(1000)));
    });
  }));
  REQUIRE(f.StopsWith("InvalidFree: FreeOffset", [&] {
    FreeMeanwhile(&f, &f.header_->classes_[ClassOf(1000)].lock_, small, [&] {
      f.Entry(small.load())
          ->shape_.Set(multi_process::MakeShape(multi_process::kKindClass, ClassOf(2000)));
    });
  }));
}

}  // namespace
}  // namespace hshm::ipc::test
