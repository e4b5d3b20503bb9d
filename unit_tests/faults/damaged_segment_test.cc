/**
 * Segments with one wrong bit: whoever attaches is refused with an error, or goes on. A wrong word
 * of those that change while a heap is used, which no checksum can cover, may also stop it with a
 * defect's name. Nothing hangs, crashes, or touches what is outside of the region.
 */
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <unistd.h>

#include <atomic>
#include <csignal>
#include <cstddef>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <string>
#include <vector>

#include "backend/error_code.h"
#include "hermes_shm/memory/allocator/allocator_header.h"
#include "hermes_shm/memory/allocator/buddy/buddy_state.h"
#include "hermes_shm/memory/allocator/buddy_allocator.h"
#include "hermes_shm/memory/allocator/multi_process/layout.h"
#include "hermes_shm/memory/allocator/multi_process_allocator.h"
#include "hermes_shm/memory/allocator/scalable_page/layout.h"
#include "hermes_shm/memory/allocator/scalable_page_allocator.h"
#include "hermes_shm/memory/allocator/stack/layout.h"
#include "hermes_shm/memory/allocator/stack_allocator.h"
#include "hermes_shm/memory/backend/posix_mmap.h"
#include "hermes_shm/memory/backend/posix_shm_mmap.h"
#include "support/catch.h"
#include "support/child_process.h"
#include "support/full_run.h"
#include "support/own_directory.h"
#include "support/seed.h"

namespace hshm::ipc::test {
namespace {

using hshm::test::SegmentDirectory;

constexpr size_t kBytes = 512 * 1024;
constexpr Offset kSlotsTried = 4;    // of the slots all of which are alike
constexpr Offset kCoreBytes = 1024;  // of an allocator's own header
constexpr itimerval kTwoSeconds = {{0, 0}, {2, 0}};
constexpr int kAttempts = 3;  // of what took two seconds: the machine may be busy

/** How far a child has come, for whoever goes on when it dies. */
struct Progress {
  std::atomic<uint64_t> next_{0};
  std::atomic<uint64_t> refused_{0};
  std::atomic<uint64_t> served_{0};
};

/** A segment left by a dead job, with a few blocks in it, and its bytes. */
template <typename AllocT>
struct LeftBehind {
  LeftBehind(const SegmentDirectory& directory, size_t first_bytes)
      : path_(directory.File("heap")) {
    PosixShmMmap backend;
    backend.shm_init(MemoryBackendId(6), first_bytes, "heap", {.max_size_bytes_ = kBytes});
    auto* const alloc = backend.MakeAlloc<AllocT>(AllocatorId(1, 0));
    for (const size_t bytes : {64, 100, 3000}) {
      const auto block = alloc->template Allocate<char>(HSHM_DEFAULT_MEM_CTX, bytes);
      if (bytes == 100) alloc->SetRoot("kept", block);
    }
    core_ = backend.region().template At<AllocatorHeader>(AllocatorOffset())->core_offset_;
    backend.shm_detach();
    file_ = open(path_.c_str(), O_RDWR | O_CLOEXEC);
    image_.resize(std::filesystem::file_size(path_));
    REQUIRE(pread(file_, image_.data(), image_.size(), 0) == static_cast<ssize_t>(image_.size()));
  }
  ~LeftBehind() { close(file_); }

  static Offset AllocatorOffset() { return AllocatorOffsetFor(kBytes); }
  void Restore() const {
    const auto bytes = static_cast<ssize_t>(image_.size());
    if (ftruncate(file_, bytes) != 0 || pwrite(file_, image_.data(), image_.size(), 0) != bytes) {
      std::abort();
    }
  }
  void Flip(uint64_t bit) const {
    const auto changed = static_cast<char>(image_[bit / 8] ^ (1 << bit % 8));
    if (pwrite(file_, &changed, 1, static_cast<off_t>(bit / 8)) != 1) std::abort();
  }
  /** The bits of the backend's header, of some slots, and of the allocator's two headers. */
  std::vector<uint64_t> Bits() const {
    std::vector<uint64_t> bits;
    const auto add = [&](Offset begin, Offset end) {
      for (uint64_t bit = begin * 8; bit < end * 8; ++bit) bits.push_back(bit);
    };
    add(0, kBackendHeaderBytes + kSlotsTried * sizeof(SlotEntry));
    add(AllocatorOffset(), core_ + kCoreBytes);
    return bits;
  }

  std::string path_;
  Offset core_ = 0;
  int file_ = -1;
  std::vector<char> image_;
};

/** What a job does that finds the segment. @throws Error */
template <typename AllocT>
void Use() {
  PosixShmMmap backend;
  backend.shm_attach("heap", {.timeout_ms_ = 0});
  auto* const alloc = backend.AttachAlloc<AllocT>();
  const Region region = backend.region();
  for (const size_t bytes : {64, 3000, 70'000}) {
    const auto block = alloc->template Allocate<char>(HSHM_DEFAULT_MEM_CTX, bytes);
    if (block.IsNull()) continue;
    if (!region.Contains(block.ptr_) || !region.Contains(block.ptr_ + bytes - 1)) std::abort();
    std::memset(block.ptr_, 0x5a, bytes);
    alloc->Free(HSHM_DEFAULT_MEM_CTX, block);
  }
  const auto root = alloc->template FindRoot<char>("kept");
  if (!root.IsNull() && !region.Contains(root.ptr_)) std::abort();
  static_cast<void>(alloc->Check());
}

/** In a child: each of the bits from progress->next_ on, until the end or its death. */
template <typename AllocT>
int UseAll(const LeftBehind<AllocT>& segment, const std::vector<uint64_t>& bits,
           Progress* progress) {
  const rlimit no_core = {0, 0};
  setrlimit(RLIMIT_CORE, &no_core);
  for (const int number : {SIGABRT, SIGSEGV, SIGBUS, SIGFPE, SIGILL}) signal(number, SIG_DFL);
  for (; progress->next_ < bits.size(); ++progress->next_) {
    segment.Restore();
    segment.Flip(bits[progress->next_]);
    setitimer(ITIMER_REAL, &kTwoSeconds, nullptr);
    try {
      Use<AllocT>();
      ++progress->served_;
    } catch (const Error&) {
      ++progress->refused_;
    }
    const itimerval none = {};
    setitimer(ITIMER_REAL, &none, nullptr);
  }
  return 0;
}

std::string NameOfBit(uint64_t bit, Offset core) {
  const Offset byte = bit / 8;
  const Offset allocator = AllocatorOffsetFor(kBytes);
  std::string place = "the backend's header";
  Offset from = 0;
  if (byte >= kBackendHeaderBytes) place = "the slots", from = kBackendHeaderBytes;
  if (byte >= allocator) place = "the allocator's header", from = allocator;
  if (byte >= core) place = "the allocator's own header", from = core;
  return "bit " + std::to_string(bit % 8) + " of byte " + std::to_string(byte - from) + " of " +
         place;
}

bool Names(const std::string& errors) {
  for (const char* defect : {"Corruption", "ForeignPointer", "InvalidFree"}) {
    if (errors.find(std::string("hshm: ") + defect + ": ") != std::string::npos) return true;
  }
  return false;
}

/** In an allocator's own header: of its [init] words RequireInitWordsRefused demands more. */
bool IsChanging(uint64_t bit, Offset core) { return bit / 8 >= core; }

struct Bytes {
  size_t begin_, end_;
};

/** Where in an allocator's own header its [init] words are, which Attach computes again. */
template <typename AllocT>
std::vector<Bytes> InitWords();
template <>
std::vector<Bytes> InitWords<SmallMultiProcessAllocator>() {
  using Header = multi_process::RootHeader;
  return {{0, offsetof(Header, lock_)},
          {offsetof(Header, heads_offset_), offsetof(Header, pressure_)}};
}
template <>
std::vector<Bytes> InitWords<SmallScalablePageAllocator>() {
  return {{0, offsetof(scalable_page::ScalableHeader<multi_process::SmallPages>, pages_lock_)}};
}
template <>
std::vector<Bytes> InitWords<BuddyAllocator>() {
  const size_t nodes = offsetof(BuddyHeader, nodes_offset_);
  return {{offsetof(BuddyHeader, granule_bytes_), offsetof(BuddyHeader, end_) + sizeof(uint32_t)},
          {nodes, nodes + sizeof(uint64_t)}};
}
template <>
std::vector<Bytes> InitWords<StackAllocator>() {
  const size_t end = offsetof(StackHeader, end_);
  return {{offsetof(StackHeader, bottom_), end + sizeof(uint64_t)}};
}

/** Each of their bits, one after the other: nobody may go on, or be stopped later. */
template <typename AllocT>
void RequireInitWordsRefused(const LeftBehind<AllocT>& segment) {
  const hshm::test::Ending ending = hshm::test::RunInChild([&] {
    for (const Bytes& words : InitWords<AllocT>()) {
      const uint64_t begin = (segment.core_ + words.begin_) * 8;
      const uint64_t end = (segment.core_ + words.end_) * 8;
      for (uint64_t bit = begin; bit < end; ++bit) {
        segment.Restore();
        segment.Flip(bit);
        const ErrorCode code = CodeOf(Use<AllocT>);
        if (code == ErrorCode::kCorrupt || code == ErrorCode::kVersionMismatch) continue;
        std::fprintf(stderr, "not refused: %s\n", NameOfBit(bit, segment.core_).c_str());
        _exit(1);
      }
    }
    _exit(0);
  });
  INFO(ending.errors_);
  REQUIRE(ending.status_ == 0);
}

/** The file has first_bytes at first, and grows to kBytes. */
template <typename AllocT>
void FlipEachBit(const char* name, size_t first_bytes = kBytes) {
  const SegmentDirectory directory;
  const LeftBehind<AllocT> segment(directory, first_bytes);
  RequireInitWordsRefused(segment);
  std::vector<uint64_t> bits = segment.Bits();
  const uint64_t every = hshm::test::TimesOf(16, 1);
  const uint64_t first = hshm::test::PrintedSeed(name) % every;
  std::vector<uint64_t> chosen;
  for (uint64_t i = first; i < bits.size(); i += every) chosen.push_back(bits[i]);
  void* const memory =
      mmap(nullptr, sizeof(Progress), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  auto* const progress = new (memory) Progress;
  std::vector<std::string> ends;
  int attempts = 0;
  size_t stopped = 0;
  while (ends.size() < 40) {
    const uint64_t begun_at = progress->next_;
    hshm::test::Ending ending =
        hshm::test::RunInChild([&] { _exit(UseAll(segment, chosen, progress)); });
    if (ending.status_ == 0) break;
    if (progress->next_ != begun_at) attempts = 0;
    if (ending.status_ == -SIGALRM && ++attempts < kAttempts) continue;
    const bool is_named = ending.status_ == -SIGABRT && Names(ending.errors_) &&
                          IsChanging(chosen[progress->next_], segment.core_);
    if (is_named) {
      ++stopped;
      ++progress->next_;
      continue;
    }
    ends.push_back(NameOfBit(chosen[progress->next_], segment.core_) + ": " +
                   (ending.status_ == -SIGALRM ? "no end for 2 s"
                                               : "signal " + std::to_string(-ending.status_)) +
                   " " + ending.errors_.substr(0, ending.errors_.find('\n')));
    ++progress->next_;
    attempts = 0;
  }
  std::printf("%s: %zu bits flipped, %llu refused, %llu served, %zu stopped\n", name, chosen.size(),
              static_cast<unsigned long long>(progress->refused_),
              static_cast<unsigned long long>(progress->served_), stopped);
  for (const std::string& end : ends) UNSCOPED_INFO(end);
  REQUIRE(ends.empty());
  REQUIRE(progress->refused_ > 0);
  munmap(memory, sizeof(Progress));
}

TEST_CASE("A MultiProcessAllocator's segment with any bit wrong is refused, or harms nobody") {
  FlipEachBit<SmallMultiProcessAllocator>("multi_process");
}

TEST_CASE("A growing segment with any bit wrong is refused, or harms nobody") {
  FlipEachBit<SmallMultiProcessAllocator>("growing", kMinRegionBytes);
}

TEST_CASE("A growing segment cut at any page is Truncated, but for what nobody has used") {
  const SegmentDirectory directory;
  const LeftBehind<SmallMultiProcessAllocator> segment(directory, kMinRegionBytes);
  const auto* header = reinterpret_cast<const BackendHeader*>(segment.image_.data());
  // relaxed: a private copy
  const uint64_t grown_bytes = header->grown_bytes_.load(std::memory_order_relaxed);
  REQUIRE(grown_bytes >= kMinRegionBytes);
  for (uint64_t bytes = 0; bytes <= kBytes; bytes += 4096) {
    segment.Restore();
    REQUIRE(ftruncate(segment.file_, static_cast<off_t>(bytes)) == 0);
    INFO("cut to " << bytes << " of " << grown_bytes);
    REQUIRE(CodeOf(Use<SmallMultiProcessAllocator>) ==
            (bytes < grown_bytes ? ErrorCode::kTruncated : ErrorCode::kNone));
  }
}

TEST_CASE("A ScalablePageAllocator's segment with any bit wrong is refused, or harms nobody") {
  FlipEachBit<SmallScalablePageAllocator>("scalable_page");
}

TEST_CASE("A BuddyAllocator's segment with any bit wrong is refused, or harms nobody") {
  FlipEachBit<BuddyAllocator>("buddy");
}

TEST_CASE("A StackAllocator's segment with any bit wrong is refused, or harms nobody") {
  FlipEachBit<StackAllocator>("stack");
}

}  // namespace
}  // namespace hshm::ipc::test
