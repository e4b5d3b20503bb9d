#ifndef HSHM_BENCH_LOOPS_CREW_H_
#define HSHM_BENCH_LOOPS_CREW_H_

#include <pthread.h>
#include <sys/types.h>

#include <atomic>
#include <cstdint>
#include <functional>
#include <string>
#include <thread>
#include <vector>

namespace hshm::bench {

inline constexpr uint32_t kMaxMembers = 256;
inline constexpr uint32_t kTableWords = 1 << 14;

/** What the members of a crew do together. */
enum class Job : uint32_t {
  kQuit,
  kRandom,    // each its own blocks of 16 to 1024 bytes
  kBatch,     // each its own batches of 64 bytes
  kHandOff,   // member 0 allocates, then member 1 frees, in turn
  kPipeline,  // member 0 allocates while member 1 frees what came before
  kLarson,    // all replace blocks of one table: half of the frees are of another's block, at two
};

/**
 * What leader and members share, in memory without a name: threads by its address, programs by the
 * descriptor that they inherit.
 */
struct CrewControl {
  struct alignas(64) Member {
    uint64_t cpu_ns_;  // of the last job
    uint64_t ops_;     // pairs in it
  };

  pthread_barrier_t start_;  // leader and members: the job is known
  pthread_barrier_t end_;    // leader and members: it is done
  pthread_barrier_t turn_;   // members alone, within a job
  uint32_t members_;
  Job job_;       // [leader] before start_
  uint64_t ops_;  // [leader] before start_: how many each member does
  Member results_[kMaxMembers];
  alignas(64) std::atomic<uint64_t> table_[kTableWords];
};

/** Processor time of the calling thread, in ns. */
uint64_t ThreadCpuNs() noexcept;
uint64_t WallNs() noexcept;

/** What a started program is told on its command line; see Crew::StartPrograms. */
struct MemberArguments {
  static constexpr char kFlag[] = "--member";
  uint32_t index_ = 0;
  int control_fd_ = -1;
  std::string url_;

  /** False when the program was not started as a member. */
  static bool Read(int argc, char** argv, MemberArguments* arguments);
};

/** Maps the control block of a leader's descriptor; it stays for the life of the process. */
CrewControl* MapControl(int control_fd);

/**
 * Some threads or processes that stand ready, so that starting them is in no figure.
 *
 * Crash  A member that dies ends the leader, whose death ends the members: no figure is better than
 *        one of a crew that was not complete.
 */
class Crew {
 public:
  using Main = std::function<void(CrewControl&, uint32_t index)>;  // until the job is kQuit

  explicit Crew(uint32_t members);
  ~Crew();
  Crew(const Crew&) = delete;
  Crew& operator=(const Crew&) = delete;

  void StartThreads(const Main& main);
  /** Starts this program anew for each member, with exec: it maps everything elsewhere. */
  void StartPrograms(const std::string& url);

  struct Figures {
    uint64_t cpu_ns_ = 0;   // of all members
    uint64_t wall_ns_ = 0;  // from the leader's start to the last member's end
    uint64_t ops_ = 0;      // pairs of all members
  };
  Figures Run(Job job, uint64_t ops_per_member);

 private:
  CrewControl* control_;
  int control_fd_;
  std::vector<std::thread> threads_;
  std::vector<pid_t> processes_;
};

}  // namespace hshm::bench

#endif  // HSHM_BENCH_LOOPS_CREW_H_
