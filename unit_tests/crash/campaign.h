#ifndef HSHM_UNIT_TESTS_CRASH_CAMPAIGN_H_
#define HSHM_UNIT_TESTS_CRASH_CAMPAIGN_H_

#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <unordered_set>
#include <utility>
#include <vector>

#include "crash/oracle.h"
#include "crash/world.h"

namespace hshm::ipc::crash {

/** The smallest region that is sure to work, and a little: some 55 data pages. */
inline constexpr uint64_t kRegionBytes = 66 * Config::kPageBytes;
/** Large enough that class slots list several runs, and blocks of several pages. */
inline constexpr uint64_t kLargerRegionBytes = Config::kPageShift == 12 ? 2 << 20 : kRegionBytes;

/**
 * Runs scenarios in traced children and judges each distinct image that they make: by a hash of the
 * words that are state, so that a state counts once however often it is reached, and by which
 * process. The judge is a child as well: a crash or a hang in it is a verdict.
 */
class Campaign {
 public:
  /** The play gets a world that lives in a child; what it traces is judged. */
  using Play = std::function<void(World& world)>;

  explicit Campaign(const char* name, uint64_t region_bytes = kRegionBytes);
  Campaign(const Campaign&) = delete;
  Campaign& operator=(const Campaign&) = delete;

  /** Holds of every image, beside the promises. */
  void Demands(Oracle::Demand demand) { demand_ = std::move(demand); }

  /** One play from a seed. `cut_recoverers` of its images are also recovered under the tracer. */
  void Run(uint64_t seed, const Play& play, uint32_t cut_recoverers = 0);
  /** `count` plays with seeds from the test's own. */
  void RunMany(uint32_t count, const Play& play, uint32_t cut_recoverers = 0);

  uint64_t distinct_images() const { return hashes_.size(); }
  uint64_t violations() const { return violations_; }
  /** How many stores went to words of this kind, see FieldAt. */
  uint64_t StoresTo(const std::string& field) const;
  /** "N distinct images, M violations", and where the cuts were. With HSHM_CRASH_TALLY=folder also
   * writes what it has reached to a file there, for proof.py to add up. */
  void Report() const;

 private:
  struct Verdicts;

  void RunOne(uint64_t seed, const Play& play);
  void WriteTally() const;
  bool RunChild(uint64_t seed, const Play& play);
  void SelectImages();
  void JudgeAll(uint64_t seed);
  void JudgeFrom(Verdicts* verdicts);
  void CountFields();
  void CutRecoverers(uint64_t seed, uint32_t count);
  void Complain(uint64_t seed, uint32_t image, const std::string& fault);

  const char* name_;
  uint64_t first_seed_;
  uint64_t region_bytes_;
  TraceLog log_;
  Oracle::Demand demand_;
  std::vector<uint64_t> scratch_;
  std::vector<bool> is_selected_;
  std::unordered_set<uint64_t> hashes_;
  std::unordered_set<uint64_t> judged_;      // images, each with what was demanded of it
  std::unordered_set<uint64_t> starts_;      // regions at which plays began to be traced
  std::unordered_set<uint64_t> recoveries_;  // of hashes_, those made in repairing a death
  std::map<std::string, uint64_t> fields_;
  uint64_t violations_ = 0;
  uint64_t plays_ = 0;
};

}  // namespace hshm::ipc::crash

#endif  // HSHM_UNIT_TESTS_CRASH_CAMPAIGN_H_
