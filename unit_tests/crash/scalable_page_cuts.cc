#include "crash/scalable_page_cuts.h"

#include <signal.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cstddef>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <exception>

#include "crash/heap_walk.h"
#include "crash/world.h"
#include "support/child_process.h"
#include "support/seed.h"

namespace hshm::ipc::crash::scalable {
namespace {

using Header = scalable_page::ScalableHeader<Config>;
using Pages = multi_process::PageTable<Config>;
using scalable_page::PageEntry;

/** Seconds for one image. A survivor that waits for the dead waits for 30 s. */
constexpr uint32_t kWatchdogSeconds = 10;
/** Seconds for one play, which nobody dies in: step by step it takes 10 on a busy machine. */
constexpr uint32_t kPlaySeconds = 120;
/** Judges at a time, more than cores: who finds a lock of the dead sleeps for a slice of 10 ms. */
constexpr uint32_t kJudges = 24;
/** Of stores into blocks, copies, only some are looked at. */
constexpr uint32_t kContentOneIn = 100;

Header* HeaderOf(char* region) {
  return reinterpret_cast<Header*>(region + CoreOffset({region, kRegionBytes, nullptr}));
}

struct Live {
  uint64_t offset_;
  uint64_t bytes_;
  bool operator==(const Live&) const = default;
};

void AddMarked(Header* header, char* region, uint32_t page, std::vector<Live>* live) {
  const Pages pages({region, kRegionBytes, nullptr}, header->table_offset_);
  const auto* marks =
      reinterpret_cast<scalable_page::PageMarks<Config>*>(region + header->marks_offset_) + page;
  const uint64_t bytes = pages.BlockBytes(page);
  for (uint32_t i = 0; i < pages.Capacity(page); ++i) {
    if ((marks->words_[i / 64].Get() >> i % 64 & 1) != 0) {
      live->push_back({Pages::OffsetOf(page) + i * bytes, bytes});
    }
  }
}

/** What lives, by offset: from entries and marks alone, and without the allocator's code. */
std::vector<Live> WalkLive(char* region) {
  Header* header = HeaderOf(region);
  const auto* table = reinterpret_cast<PageEntry*>(region + header->table_offset_);
  std::vector<Live> live;
  for (uint32_t page = header->first_page_; page < header->frontier_.load(); ++page) {
    const uint32_t shape = table[page].shape_.Get();
    if (multi_process::KindOf(shape) == multi_process::kKindRun) {
      live.push_back({Pages::OffsetOf(page), table[page].span_.Get() * Config::kPageBytes});
    } else if (multi_process::KindOf(shape) == multi_process::kKindClass) {
      AddMarked(header, region, page, &live);
    }
  }
  return live;
}

bool IsWhole(const char* region, const ShadowBlock& block) {
  return HasPattern(region + block.offset_, block.size_bytes_, block.seed_);
}

std::string CompareLive(const std::vector<Live>& live, const char* region,
                        const std::vector<ShadowBlock>& blocks, uint32_t unknown_allowed) {
  uint32_t known = 0;
  for (const ShadowBlock& block : blocks) {
    const auto found = std::find_if(live.begin(), live.end(), [&](const Live& candidate) {
      return candidate.offset_ == block.offset_;
    });
    known += found != live.end() ? 1 : 0;
    if (!block.is_certain_) continue;
    if (found == live.end()) return "P2: a live block is lost";
    if (found->bytes_ < block.size_bytes_) return "P2: a live block has become smaller";
    if (!IsWhole(region, block)) return "P2: a live block was written into";
  }
  return live.size() <= known + unknown_allowed ? std::string() : "P3: more than one block is lost";
}

/** Everything can be freed, and then the region is one block. */
std::string FreeAll(Heap* heap, const std::vector<Live>& live, char* region) {
  for (const Live& block : live) heap->FreeOffset(MemContext(), OffsetPtr<>(block.offset_));
  if (heap->GetCurrentlyAllocatedSize() != 0) return "P4: live bytes in an empty region";
  const Header* header = HeaderOf(region);
  const uint64_t all = (header->page_count_ - header->first_page_) * Config::kPageBytes;
  const OffsetPtr<> whole = heap->AllocateOffset(MemContext(), all);
  if (whole.IsNull()) return "P4: the empty region is not one block";
  std::memset(region + whole.load(), 0xee, all);
  heap->FreeOffset(MemContext(), whole);
  return heap->Check() ? std::string() : "Check() says no when all is free";
}

/** Recovers the image in `region` as the next process would; says what promise is broken. */
std::string Judge(char* region, const std::vector<ShadowBlock>& blocks, uint32_t unknown_allowed) {
  try {
    ArrayBackend backend;
    backend.shm_attach(region, kRegionBytes);
    Heap* heap = backend.AttachAlloc<Heap>();
    if (!heap->Check()) return "P1: Check() says no after recovery";
    const std::vector<Live> live = WalkLive(region);
    std::string fault = CompareLive(live, region, blocks, unknown_allowed);
    if (!fault.empty()) return fault;
    uint64_t bytes = 0;
    for (const Live& block : live) bytes += block.bytes_;
    if (heap->GetCurrentlyAllocatedSize() != bytes) return "the live bytes are counted wrong";
    ArrayBackend second;
    second.shm_attach(region, kRegionBytes);
    heap = second.AttachAlloc<Heap>();
    if (!heap->Check() || WalkLive(region) != live)
      return "P5: a second recovery finds other blocks";
    return FreeAll(heap, live, region);
  } catch (const std::exception& error) {
    return std::string("attaching failed: ") + error.what();
  }
}

std::string KindOfWord(char* region, uint64_t offset) {
  Header* header = HeaderOf(region);
  const uint64_t core = CoreOffset({region, kRegionBytes, nullptr});
  if (offset < core) return "common";
  if (offset < header->table_offset_) return "header";
  if (offset < header->nodes_offset_) {
    const uint64_t place = (offset - header->table_offset_) % sizeof(PageEntry);
    if (place < offsetof(PageEntry, span_)) return "owner";
    return place < offsetof(PageEntry, local_) ? "span" : "counts";
  }
  if (offset < header->marks_offset_) return "lists";
  return offset < header->first_page_ * Config::kPageBytes ? "marks" : "content";
}

}  // namespace

// ---- memory
// --------------------------------------------------------------------------------------

Memory::Memory() {
  // Shared: a recoverer waits on a lock in it while the tracer has it read-only.
  void* memory =
      mmap(nullptr, kRegionBytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED) std::abort();
  base_ = static_cast<char*>(memory);
}
Memory::~Memory() { munmap(base_, kRegionBytes); }

// ---- playing
// -------------------------------------------------------------------------------------

void Player::Step(const char* what, uint32_t unknown, const std::function<void()>& operation) {
  if (!is_tracing_) return operation();
  if (!has_base_) log_->SetBase(region_);
  has_base_ = true;
  log_->BeginPhase(what, blocks_, unknown_ + unknown);
  tracer_.Start();
  operation();
  tracer_.Stop();
}

void Player::Init() {
  backend_.shm_init(MemoryBackendId(1), kRegionBytes, region_);
  heap_ = backend_.MakeAlloc<Heap>(AllocatorId(1, 0));
}

void Player::Inherit(const uint64_t* image, const std::vector<ShadowBlock>& blocks,
                     uint32_t unknown) {
  std::memcpy(region_, image, kRegionBytes);
  blocks_ = blocks;
  unknown_ = unknown;
  backend_.shm_attach(region_, kRegionBytes);
}

void Player::Recover() {
  Step("recover", 0, [&] {
    heap_ = backend_.AttachAlloc<Heap>();
    HSHM_CHECK(heap_->Check());
    heap_->Trim();
  });
}

void Player::Add(uint64_t offset, uint32_t size_bytes) {
  blocks_.push_back({offset, size_bytes, next_seed_++, 0, true});
  FillPattern(region_ + offset, size_bytes, blocks_.back().seed_);
}

void Player::Forget(uint32_t seed) {
  std::erase_if(blocks_, [&](const ShadowBlock& block) { return block.seed_ == seed; });
}

bool Player::Allocate(uint32_t size_bytes, uint32_t alignment) {
  uint64_t offset = 0;
  Step("allocate", 1,
       [&] { offset = heap_->AlignedAllocateOffset(MemContext(), size_bytes, alignment).load(); });
  if (offset != 0) Add(offset, size_bytes);
  return offset != 0;
}

void Player::Free(uint32_t index) {
  const ShadowBlock block = blocks_[index];
  HSHM_CHECK(IsWhole(region_, block));
  blocks_[index].is_certain_ = false;
  Step("free", 0, [&] { heap_->FreeOffset(MemContext(), OffsetPtr<>(block.offset_)); });
  Forget(block.seed_);
}

void Player::Reallocate(uint32_t index, uint32_t size_bytes) {
  const ShadowBlock block = blocks_[index];
  blocks_[index].is_certain_ = false;
  uint64_t offset = 0;
  Step("reallocate", 1, [&] {
    offset = heap_->ReallocateOffset(MemContext(), OffsetPtr<>(block.offset_), size_bytes).load();
  });
  Forget(block.seed_);
  if (offset == 0) {
    blocks_.push_back(block);
    return;
  }
  HSHM_CHECK(HasPattern(region_ + offset, std::min(size_bytes, block.size_bytes_), block.seed_));
  Add(offset, size_bytes);
}

void Player::Trim() {
  Step("trim", 0, [&] { heap_->Trim(); });
}

void Player::RandomOperation() {
  constexpr uint32_t kLargest[] = {64, 64, 512, 512, 4096, 4096, 20000, 60000};
  const uint32_t size_bytes = 1 + Random(kLargest[Random(8)]);
  const uint32_t dice = Random(100);
  if (dice < 50 || blocks_.empty()) {
    Allocate(size_bytes, 16u << (Random(4) == 0 ? Random(10) : 0));
  } else if (dice < 85) {
    Free(Random(static_cast<uint32_t>(blocks_.size())));
  } else if (dice < 97) {
    Reallocate(Random(static_cast<uint32_t>(blocks_.size())), size_bytes);
  } else {
    Trim();
  }
}

// ---- judging
// -------------------------------------------------------------------------------------

Cuts::Cuts(const char* name)
    : name_(name), first_seed_(test::PrintedSeed(name)), log_(kRegionBytes) {}

void Cuts::Run(uint32_t count, const Play& play, uint32_t cut_recoveries) {
  for (uint32_t i = 0; i < count; ++i) RunOne(first_seed_ + i, play, cut_recoveries);
}

void Cuts::RunOne(uint64_t seed, const Play& play, uint32_t cut_recoveries) {
  if (!PlayInChild(seed, play)) {
    ++violations_;
    std::printf("%s: seed %llu: the play itself went wrong\n", name_,
                static_cast<unsigned long long>(seed));
    return;
  }
  Select();
  JudgeAll(seed);
  if (cut_recoveries != 0) CutRecoveries(seed, cut_recoveries);
}

bool Cuts::PlayInChild(uint64_t seed, const Play& play) {
  log_.Clear();
  test::ChildProcess child([&] {
    signal(SIGABRT, SIG_DFL);
    alarm(kPlaySeconds);
    const Memory memory;
    Player player(memory.get(), &log_, seed);
    play(player);
    log_.SetFinished();
    _exit(0);  // the player's handles are left as a death leaves them
    return 0;
  });
  return child.Wait() == 0 && log_.IsFinished() && !log_.IsTruncated();
}

/** Every image that was not seen before, by its hash; of copies into blocks a part. */
void Cuts::Select() {
  std::vector<uint64_t> words(log_.base(), log_.base() + kRegionBytes / 8);
  auto* region = reinterpret_cast<char*>(words.data());
  const std::hash<std::string> hash_of_text;
  is_selected_.assign(log_.image_count(), false);
  uint64_t hash = hash_of_text({region, kRegionBytes});
  uint32_t contents = 0;
  for (uint32_t i = 0; i < log_.image_count(); ++i) {
    bool is_content = false;
    for (uint32_t c = log_.FirstChange(i); c < log_.image(i).change_end_; ++c) {
      const WordChange& change = log_.change(c);
      const auto mix = [&](uint64_t value) {
        uint64_t x = (value ^ uint64_t{change.word_} << 32) * 0x9e3779b97f4a7c15u;
        x = (x ^ (x >> 29)) * 0xbf58476d1ce4e5b9u;
        return x ^ (x >> 32);
      };
      hash += mix(change.value_) - mix(words[change.word_]);
      words[change.word_] = change.value_;
      const std::string kind = KindOfWord(region, uint64_t{change.word_} * 8);
      ++stores_[kind];
      is_content = kind == "content";
    }
    if (is_content && ++contents % kContentOneIn != 0) continue;
    is_selected_[i] = hashes_.insert(hash).second;
  }
}

void Cuts::JudgeAll(uint64_t seed) {
  std::vector<test::ChildProcess> judges;
  for (uint32_t j = 0; j < kJudges; ++j) {
    judges.emplace_back([&] {
      signal(SIGABRT, SIG_DFL);
      return JudgeFrom(j, seed);
    });
  }
  for (test::ChildProcess& judge : judges) violations_ += judge.Wait() != 0 ? 1 : 0;
}

int Cuts::JudgeFrom(uint32_t first, uint64_t seed) {
  std::vector<uint64_t> words(log_.base(), log_.base() + kRegionBytes / 8);
  const Memory memory;
  int faults = 0;
  for (uint32_t i = 0; i < log_.image_count(); ++i) {
    for (uint32_t c = log_.FirstChange(i); c < log_.image(i).change_end_; ++c) {
      words[log_.change(c).word_] = log_.change(c).value_;
    }
    if (!is_selected_[i] || i % kJudges != first) continue;
    const Phase& phase = log_.phase(log_.image(i).phase_);
    std::memcpy(memory.get(), words.data(), kRegionBytes);
    alarm(kWatchdogSeconds);
    const std::string fault = Judge(memory.get(), log_.BlocksOf(phase), phase.unknown_allowed_);
    alarm(0);
    if (fault.empty()) continue;
    ++faults;
    std::printf("%s: VIOLATION with seed %llu, image %u of %u (%s): %s\n", name_,
                static_cast<unsigned long long>(seed), i, log_.image_count(), phase.what_,
                fault.c_str());
    std::fflush(stdout);
  }
  return faults;
}

/** The recoverer dies at every store, too. */
void Cuts::CutRecoveries(uint64_t seed, uint32_t count) {
  struct Start {
    std::vector<uint64_t> words_;
    std::vector<ShadowBlock> blocks_;
    uint32_t unknown_;
  };
  std::vector<Start> starts;
  std::vector<uint64_t> words(log_.base(), log_.base() + kRegionBytes / 8);
  const uint32_t stride = log_.image_count() / count + 1;
  for (uint32_t i = 0; i < log_.image_count(); ++i) {
    for (uint32_t c = log_.FirstChange(i); c < log_.image(i).change_end_; ++c) {
      words[log_.change(c).word_] = log_.change(c).value_;
    }
    if ((i + seed) % stride != 0) continue;
    const Phase& phase = log_.phase(log_.image(i).phase_);
    starts.push_back({words, log_.BlocksOf(phase), phase.unknown_allowed_});
  }
  for (const Start& start : starts) {
    const auto recover = [&](Player& player) {
      player.Inherit(start.words_.data(), start.blocks_, start.unknown_);
      player.Trace();
      player.Recover();
    };
    RunOne(seed, recover, 0);
  }
}

uint64_t Cuts::StoresTo(const std::string& kind) const {
  const auto found = stores_.find(kind);
  return found == stores_.end() ? 0 : found->second;
}

void Cuts::Report() const {
  std::printf("%s: %llu distinct images, %llu violations; stores:", name_,
              static_cast<unsigned long long>(hashes_.size()),
              static_cast<unsigned long long>(violations_));
  for (const auto& [kind, count] : stores_) {
    std::printf(" %s %llu;", kind.c_str(), static_cast<unsigned long long>(count));
  }
  std::printf("\n");
  std::fflush(stdout);
}

}  // namespace hshm::ipc::crash::scalable
