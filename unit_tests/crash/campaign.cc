#include "crash/campaign.h"

#include <errno.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstddef>
#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "crash/factor.h"
#include "hermes_shm/memory/backend/backend_header.h"
#include "support/child_process.h"
#include "support/seed.h"

namespace hshm::ipc::crash {
namespace {

/** Seconds for one image or one play. A survivor that waits for the dead waits for 30 s. */
constexpr uint32_t kWatchdogSeconds = 10;
/** Seconds for one play, which nobody dies in: step by step it takes 10 on a busy machine. */
constexpr uint32_t kPlaySeconds = 120;
/** Stores into blocks alone, one after the other, before only some of them are looked at. */
constexpr uint32_t kLongRow = 64;
/** Every so many images the judge looks at all there is. */
constexpr uint32_t kThoroughOneIn = 4;
/** Judges at a time, more than cores: who finds a lock of the dead sleeps for a slice of 10 ms. */
constexpr uint32_t kJudges = 8;
/** After so many a test has said enough. */
constexpr uint64_t kMaxViolations = 10;

/** Blocks lie behind the headers, which take less than this. */
uint64_t HeaderBytes(uint64_t region_bytes) {
  return 32 * 1024 + region_bytes / Config::kPageBytes * sizeof(multi_process::PageEntry);
}

/** What the dead have left is found, and repaired, in these. */
bool IsRecovery(const Phase& phase) {
  if (!phase.has_remains_) return false;
  for (const char* what : {"attach", "recover", "reclaim"}) {
    if (std::strcmp(phase.what_, what) == 0) return true;
  }
  return false;
}

uint64_t MixWord(uint64_t word, uint64_t value) {
  uint64_t x = value + (word + 1) * 0x9e3779b97f4a7c15u;
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
  x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
  return x ^ (x >> 31);
}

/**
 * What an image is known by: its words, without those that only tell which process has written
 * them, and when. They differ from play to play and from boot to boot, so that equal states would
 * count as often as they are reached. In an image all are dead: recovery asks them nothing, they
 * stand in its messages. So with what is counted of deaths. A judge still gets them all.
 */
class Identity {
 public:
  explicit Identity(uint64_t region_bytes)
      : masks_((RootOffset(region_bytes) + sizeof(multi_process::RootHeader)) / 8, ~uint64_t{0}) {
    LeaveOut(RootOffset(region_bytes) + offsetof(multi_process::RootHeader, deaths_),
             sizeof(multi_process::RootHeader::deaths_));  // statistics
    LeaveOut(offsetof(BackendHeader, creator_pid_), sizeof(BackendHeader::creator_pid_));
    LeaveOut(offsetof(BackendHeader, creator_start_time_),
             sizeof(BackendHeader::creator_start_time_));
    LeaveOut(offsetof(BackendHeader, boot_id_), sizeof(BackendHeader::boot_id_));
    LeaveOut(offsetof(BackendHeader, crc32c_), sizeof(BackendHeader::crc32c_));  // over these, too
    for (uint64_t i = 0; i < SlotCountFor(region_bytes); ++i) {
      const uint64_t entry = kBackendHeaderBytes + i * sizeof(SlotEntry);
      LeaveOut(entry + offsetof(SlotEntry, os_pid_), sizeof(SlotEntry::os_pid_));
      LeaveOut(entry + offsetof(SlotEntry, start_time_), sizeof(SlotEntry::start_time_));
      LeaveOut(entry + offsetof(SlotEntry, pid_namespace_), sizeof(SlotEntry::pid_namespace_));
    }
  }
  /** What a word adds to the hash of an image. */
  uint64_t Share(uint64_t word, uint64_t value) const {
    return MixWord(word, word < masks_.size() ? value & masks_[word] : value);
  }

 private:
  /** Bytes, not words: half of a word may be state. */
  void LeaveOut(uint64_t offset, uint64_t bytes) {
    std::memset(reinterpret_cast<char*>(masks_.data()) + offset, 0, bytes);
  }

  std::vector<uint64_t> masks_;  // of the words up to the page heap's lists
};

/** Goes through the images of a log, one change after the other. */
class Replay {
 public:
  explicit Replay(const TraceLog& log)
      : log_(log), identity_(log.region_bytes()), words_(log.region_bytes() / 8) {
    std::memcpy(words_.data(), log.base(), log.region_bytes());
    for (uint64_t i = 0; i < words_.size(); ++i) hash_ += identity_.Share(i, words_[i]);
  }
  /** Images are visited in order. */
  void Apply(uint32_t image) {
    for (uint32_t i = log_.FirstChange(image); i < log_.image(image).change_end_; ++i) {
      const WordChange& change = log_.change(i);
      hash_ += identity_.Share(change.word_, change.value_) -
               identity_.Share(change.word_, words_[change.word_]);
      words_[change.word_] = change.value_;
    }
  }
  uint64_t hash() const { return hash_; }
  const uint64_t* words() const { return words_.data(); }

 private:
  const TraceLog& log_;
  const Identity identity_;
  std::vector<uint64_t> words_;
  uint64_t hash_ = 0;
};

/** What is demanded of the images of a phase: those of two plays may be equal, and this not. */
uint64_t HashOfDemands(const TraceLog& log, const Phase& phase) {
  uint64_t hash = MixWord(0, phase.unknown_allowed_);
  for (const ShadowBlock& block : log.BlocksOf(phase)) {
    const uint64_t bytes = (uint64_t{block.size_bytes_} << 1) + (block.is_certain_ ? 1 : 0);
    hash = MixWord(MixWord(MixWord(hash, block.offset_), bytes), block.seed_);
  }
  return hash;
}

}  // namespace

/** What a judging child tells; in shared memory. */
struct Campaign::Verdicts {
  uint32_t next_;  // the image that it is at
  bool is_fault_;  // of that image
  char text_[512];
};

Campaign::Campaign(const char* name, uint64_t region_bytes)
    : name_(name),
      first_seed_(test::PrintedSeed(name)),
      region_bytes_(region_bytes),
      log_(region_bytes) {}

void Campaign::RunMany(uint32_t count, const Play& play, uint32_t cut_recoverers) {
  for (uint32_t i = 0; i < Times(count); ++i) Run(first_seed_ + i, play, cut_recoverers);
}

void Campaign::Run(uint64_t seed, const Play& play, uint32_t cut_recoverers) {
  ++plays_;
  RunOne(seed, play);
  if (log_.IsFinished()) starts_.insert(Replay(log_).hash());
  if (cut_recoverers != 0 && violations_ < kMaxViolations) CutRecoverers(seed, cut_recoverers);
}

void Campaign::RunOne(uint64_t seed, const Play& play) {
  if (violations_ >= kMaxViolations || !RunChild(seed, play)) return;
  SelectImages();
  CountFields();
  JudgeAll(seed);
}

/** False when the play itself went wrong. */
bool Campaign::RunChild(uint64_t seed, const Play& play) {
  log_.Clear();
  test::ChildProcess child([&] {
    signal(SIGABRT, SIG_DFL);
    alarm(kPlaySeconds);
    void* memory =
        mmap(nullptr, region_bytes_, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED) return 1;
    World world(static_cast<char*>(memory), region_bytes_, &log_, seed);
    play(world);
    world.Rest();
    log_.SetFinished();
    _exit(0);  // the world's handles are left as a death leaves them
  });
  const int status = child.Wait();
  if (status == 0 && log_.IsFinished() && !log_.IsTruncated()) return true;
  Complain(seed, log_.image_count(),
           log_.IsTruncated() ? "the log is too small for the play"
                              : "the play itself ended with " + std::to_string(status));
  return false;
}

/** All images of a new hash or with new demands, and the first of each phase. Of a long row of
 * stores into blocks alone, a copy or a memset, a few will do. */
void Campaign::SelectImages() {
  Replay replay(log_);
  is_selected_.assign(log_.image_count(), false);
  uint32_t row = 0;
  uint64_t demands = 0;
  for (uint32_t i = 0; i < log_.image_count(); ++i) {
    replay.Apply(i);
    const Phase& phase = log_.phase(log_.image(i).phase_);
    const bool is_first = i == 0 || log_.image(i).phase_ != log_.image(i - 1).phase_;
    if (is_first) demands = HashOfDemands(log_, phase);
    const uint32_t first = log_.FirstChange(i);
    const bool is_content = first != log_.image(i).change_end_ &&
                            uint64_t{log_.change(first).word_} * 8 >= HeaderBytes(region_bytes_);
    row = is_content ? row + 1 : 0;
    if (row > kLongRow && row % kLongRow != 0) continue;
    const bool is_new = hashes_.insert(replay.hash()).second;
    if (is_new && IsRecovery(phase)) recoveries_.insert(replay.hash());
    is_selected_[i] = judged_.insert(MixWord(demands, replay.hash())).second || is_first;
  }
}

void Campaign::CountFields() {
  const Replay replay(log_);
  scratch_.assign(replay.words(), replay.words() + region_bytes_ / 8);
  const Region region = {reinterpret_cast<char*>(scratch_.data()), region_bytes_, nullptr};
  for (uint32_t i = 0; i < log_.image_count(); ++i) {
    const uint32_t first = log_.FirstChange(i);
    const uint32_t end = log_.image(i).change_end_;
    for (uint32_t c = first; c < end; ++c) scratch_[log_.change(c).word_] = log_.change(c).value_;
    if (end - first > 0 && end - first <= 8) {
      ++fields_[FieldAt(region, uint64_t{log_.change(first).word_} * 8)];
    }
  }
}

void Campaign::JudgeAll(uint64_t seed) {
  void* shared = mmap(nullptr, kJudges * sizeof(Verdicts), PROT_READ | PROT_WRITE,
                      MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  if (shared == MAP_FAILED) std::abort();
  auto* verdicts = static_cast<Verdicts*>(shared);
  for (uint32_t j = 0; j < kJudges; ++j) verdicts[j].next_ = j;
  for (bool is_done = false; !is_done && violations_ < kMaxViolations;) {
    is_done = true;
    std::vector<test::ChildProcess> judges;
    for (uint32_t j = 0; j < kJudges; ++j) {
      verdicts[j].is_fault_ = false;
      judges.emplace_back([&] {
        signal(SIGABRT, SIG_DFL);
        JudgeFrom(&verdicts[j]);
        return 0;
      });
    }
    for (uint32_t j = 0; j < kJudges; ++j) {
      const int status = judges[j].Wait();
      if (status == 0 && !verdicts[j].is_fault_) continue;
      is_done = false;
      Complain(
          seed, verdicts[j].next_,
          status == 0 ? verdicts[j].text_ : "P1: recovery ended with " + std::to_string(status));
      verdicts[j].next_ += kJudges;
    }
  }
  munmap(shared, kJudges * sizeof(Verdicts));
}

/** Judges every kJudges-th image from next_ on, up to the first fault. */
void Campaign::JudgeFrom(Verdicts* verdicts) {
  Replay replay(log_);
  Oracle oracle(region_bytes_);
  oracle.Demands(demand_);
  uint32_t applied = 0;
  for (; verdicts->next_ < log_.image_count(); verdicts->next_ += kJudges) {
    while (applied <= verdicts->next_) replay.Apply(applied++);
    const uint32_t image = verdicts->next_;
    if (!is_selected_[image]) continue;
    alarm(kWatchdogSeconds);
    const Phase& phase = log_.phase(log_.image(image).phase_);
    const bool is_thorough = image / kJudges % kThoroughOneIn == 0;
    const std::string fault = oracle.Judge(
        {replay.words(), region_bytes_, log_.BlocksOf(phase), phase.unknown_allowed_, is_thorough});
    alarm(0);
    if (fault.empty()) continue;
    std::snprintf(verdicts->text_, sizeof(verdicts->text_), "%s", fault.c_str());
    verdicts->is_fault_ = true;
    return;
  }
}

/** Plays the recovery of some images in the tracer: the recoverer dies at every store, too. */
void Campaign::CutRecoverers(uint64_t seed, uint32_t count) {
  struct Start {
    std::vector<uint64_t> words_;
    std::vector<ShadowBlock> blocks_;
    uint32_t unknown_;
  };
  std::vector<Start> starts;
  Replay replay(log_);
  const uint32_t stride = log_.image_count() / count + 1;
  for (uint32_t i = 0; i < log_.image_count(); ++i) {
    replay.Apply(i);
    if ((i + seed) % stride != 0) continue;
    const Phase& phase = log_.phase(log_.image(i).phase_);
    starts.push_back({{replay.words(), replay.words() + region_bytes_ / 8},
                      log_.BlocksOf(phase),
                      phase.unknown_allowed_});
  }
  for (const Start& start : starts) {
    RunOne(seed, [&](World& world) {
      std::memcpy(world.Address(0), start.words_.data(), region_bytes_);
      world.Know(start.blocks_, start.unknown_);
      world.Reopen();
      world.Trace(true);
      world.Attach();
    });
  }
}

void Campaign::Complain(uint64_t seed, uint32_t image, const std::string& fault) {
  ++violations_;
  std::string place = "outside of any phase";
  if (image < log_.image_count()) {
    place = log_.phase(log_.image(image).phase_).what_;
    Replay replay(log_);
    for (uint32_t i = 0; i <= image; ++i) replay.Apply(i);
    scratch_.assign(replay.words(), replay.words() + region_bytes_ / 8);
    const Region region = {reinterpret_cast<char*>(scratch_.data()), region_bytes_, nullptr};
    for (uint32_t c = log_.FirstChange(image); c < log_.image(image).change_end_; ++c) {
      const uint64_t offset = uint64_t{log_.change(c).word_} * 8;
      place += ", stored to " + FieldAt(region, offset) + " at " + std::to_string(offset);
      if (c > log_.FirstChange(image) + 4) break;
    }
  }
  std::printf("%s: VIOLATION with seed %llu, image %u of %u (%s): %s\n", name_,
              static_cast<unsigned long long>(seed), image, log_.image_count(), place.c_str(),
              fault.c_str());
  std::fflush(stdout);
}

uint64_t Campaign::StoresTo(const std::string& field) const {
  const auto found = fields_.find(field);
  return found == fields_.end() ? 0 : found->second;
}

void Campaign::Report() const {
  std::printf(
      "%s: %llu plays, %llu distinct images, %llu of them of recoverers, %llu violations; "
      "stores:",
      name_, static_cast<unsigned long long>(plays_),
      static_cast<unsigned long long>(hashes_.size()),
      static_cast<unsigned long long>(recoveries_.size()),
      static_cast<unsigned long long>(violations_));
  for (const auto& [field, count] : fields_) {
    std::printf(" %s %llu;", field.c_str(), static_cast<unsigned long long>(count));
  }
  std::printf("\n");
  std::fflush(stdout);
  WriteTally();
}

/** Hashes, not numbers: what two campaigns or two builds have both met counts once. */
void Campaign::WriteTally() const {
  const char* folder = std::getenv("HSHM_CRASH_TALLY");
  if (folder == nullptr) return;
  std::string path =
      std::string(folder) + "/" + program_invocation_short_name + "." + name_ + ".tally";
  std::FILE* file = std::fopen(path.c_str(), "w");
  if (file == nullptr) {
    std::printf("%s: cannot write %s\n", name_, path.c_str());
    std::abort();
  }
  std::fprintf(file, "campaign %llu plays %llu violations %s\n",
               static_cast<unsigned long long>(plays_),
               static_cast<unsigned long long>(violations_), name_);
  for (const uint64_t hash : starts_) {
    std::fprintf(file, "start %016llx\n", static_cast<unsigned long long>(hash));
  }
  for (const uint64_t hash : hashes_) {
    std::fprintf(file, "%s %016llx\n", recoveries_.count(hash) != 0 ? "recovery" : "image",
                 static_cast<unsigned long long>(hash));
  }
  if (std::fclose(file) != 0) std::abort();
}

}  // namespace hshm::ipc::crash
