/**
 * A rank is killed inside allocating and freeing, at an instruction that chance picks. The others
 * go on within two seconds, take over what it locked, and free what it had handed out. Ranks on
 * other hosts, if there are any, notice nothing.
 *
 *     mpirun --continuous rank_killed VICTIM              (-1: the last rank)
 *     mpirun outlive.sh rank_killed VICTIM                (on several hosts)
 *     mpirun -disable-auto-cleanup outlive.sh rank_killed VICTIM      (MPICH)
 *
 * The exit status says nothing then: the last line of each host is the verdict.
 */
#include <csignal>
#include <random>

#include <sys/time.h>
#include <unistd.h>

#include "hermes_shm/mpi/node_heap.h"
#include "hermes_shm/platform/futex.h"
#include "hermes_shm/sync/mutex.h"
#include "support.h"

namespace {

using hshm::MonotonicUs;
using hshm::MutexGuard;
using hshm::ipc::OffsetPtr;
using hshm::mpi::NodeHeap;
using hshm::mpi::NodeHeapOptions;
using namespace mpi_test;

constexpr uint64_t kPatienceUs = 2'000'000;    // for one operation of a survivor
constexpr uint64_t kWaitLimitUs = 60'000'000;  // for a peer on a busy machine
constexpr size_t kGifts = 200;
constexpr size_t kGiftBytes = 500;
constexpr int kRoundsAfterDeath = 2000;

/** The ranks of this host, and the one of them that dies. */
struct Host {
  Host(const World& world, const NodeHeap& heap, int victim)
      : rank_(heap.node_rank()), victim_(world.rank() == victim ? rank_ : -1) {
    MPI_Allreduce(MPI_IN_PLACE, &victim_, 1, MPI_INT, MPI_MAX, heap.node_comm());
    survivors_ = heap.node_size() - (HasVictim() ? 1 : 0);
  }
  bool HasVictim() const { return victim_ >= 0; }
  bool IsFirstSurvivor() const { return rank_ == (victim_ == 0 ? 1 : 0); }
  /** This rank's place among the survivors. */
  int Place() const { return rank_ - (HasVictim() && rank_ > victim_ ? 1 : 0); }

  int rank_;
  int victim_;  // among the ranks of the host; -1: it is on another
  int survivors_;
};

/** The custom header. */
struct Shared {
  hshm::Mutex mutex_;            // [any]
  hshm::Atomic<uint32_t> here_;  // [any]        how often a survivor came to a barrier
  uint32_t victim_slot_;         // [init]
  uint64_t gifts_[kGifts];       // [init]       blocks that the victim handed out
  uint64_t left_;                // [lock:mutex] two counters that are equal outside of the lock
  uint64_t right_;               // [lock:mutex]
};

void KillSelf(int) { kill(getpid(), SIGKILL); }

/** Death in 50 to 100 ms, wherever the process is then. */
void ArmDeath(std::mt19937& random) {
  std::signal(SIGALRM, KillSelf);
  const itimerval delay{{0, 0}, {0, static_cast<suseconds_t>(50'000 + random() % 50'000)}};
  MPI_CHECK(setitimer(ITIMER_REAL, &delay, nullptr) == 0);
}

void MakeGifts(NodeHeap& heap, Shared* shared) {
  shared->victim_slot_ = heap->GetMembership().slot();
  for (size_t i = 0; i < kGifts; ++i) {
    const auto block = heap->Allocate(HSHM_DEFAULT_MEM_CTX, kGiftBytes);
    MPI_CHECK(!block.IsNull());
    Fill(block.ptr_, kGiftBytes, i);
    shared->gifts_[i] = block.shm_.off_.load();
  }
}

/** Counts under the lock; repairs the counters when the last holder died between the two. */
void CountUnderLock(NodeHeap& heap, Shared* shared) {
  const MutexGuard guard(shared->mutex_, heap->GetMembership().identity(), kPatienceUs);
  MPI_CHECK(guard.IsHeld());
  if (guard.result() == hshm::LockResult::kOwnerDied) shared->right_ = shared->left_;
  MPI_CHECK(shared->left_ == shared->right_);
  ++shared->left_;
  ++shared->right_;
}

/** One round of every rank's work; a survivor's must be over within kPatienceUs. */
void WorkOnce(NodeHeap& heap, Shared* shared, std::mt19937& random) {
  const uint64_t start_us = MonotonicUs();
  const size_t size_bytes = 1 + (random() % 20 == 0 ? random() % 300'000 : random() % 1000);
  const auto block = heap->Allocate(HSHM_DEFAULT_MEM_CTX, size_bytes);
  MPI_CHECK(!block.IsNull());
  block.ptr_[0] = 1;
  block.ptr_[size_bytes - 1] = 2;
  CountUnderLock(heap, shared);
  heap->Free(HSHM_DEFAULT_MEM_CTX, block);
  MPI_CHECK(MonotonicUs() - start_us < kPatienceUs);
}

void WorkUntilDeath(const Host& host, NodeHeap& heap, Shared* shared, std::mt19937& random) {
  const uint64_t start_us = MonotonicUs();
  while (host.HasVictim() && heap->GetMembership().IsAlive(shared->victim_slot_)) {
    WorkOnce(heap, shared, random);
    MPI_CHECK(MonotonicUs() - start_us < kWaitLimitUs);
  }
  for (int i = 0; i < kRoundsAfterDeath; ++i) WorkOnce(heap, shared, random);
}

/** Each survivor frees its part of what the victim handed out. */
void FreeGifts(const Host& host, NodeHeap& heap, Shared* shared) {
  if (!host.HasVictim()) return;
  const auto step = static_cast<size_t>(host.survivors_);
  for (size_t i = static_cast<size_t>(host.Place()); i < kGifts; i += step) {
    const OffsetPtr<char> gift(shared->gifts_[i]);
    MPI_CHECK(Verify(heap->Convert(gift), kGiftBytes, i));
    heap->Free(HSHM_DEFAULT_MEM_CTX, gift);
  }
}

/** The survivors' barrier number `turn`, from 1; MPI's would wait for the dead rank too. */
void WaitForSurvivors(const Host& host, Shared* shared, uint32_t turn) {
  const uint32_t expected = turn * static_cast<uint32_t>(host.survivors_);
  const uint64_t start_us = MonotonicUs();
  if (shared->here_.fetch_add(1) + 1 == expected) hshm::FutexWake(&shared->here_, expected);
  for (uint32_t here = 0; (here = shared->here_.load()) < expected;) {
    hshm::FutexWait(&shared->here_, here, 10'000);
    MPI_CHECK(MonotonicUs() - start_us < kWaitLimitUs);
  }
}

/** mpirun takes a rank that ends here for one more that has failed, and ends the others: so those
 * of other hosts stay until the survivors have their verdict. */
void WaitForVerdict(const World& world, const Host& host, const std::vector<int>& is_far) {
  if (!host.HasVictim()) {
    MPI_Recv(nullptr, 0, MPI_BYTE, MPI_ANY_SOURCE, 0, MPI_COMM_WORLD, MPI_STATUS_IGNORE);
  } else if (host.IsFirstSurvivor()) {
    for (int rank = 0; rank < world.size(); ++rank) {
      if (is_far[rank] != 0) MPI_Send(nullptr, 0, MPI_BYTE, rank, 0, MPI_COMM_WORLD);
    }
  }
}

/** The victim does not come back from it. */
void LiveOn(const World& world, int victim) {
  const Segments segments;
  const uint32_t seed = std::random_device()();
  std::mt19937 random(seed);
  NodeHeapOptions options;
  options.capacity_bytes_ = 256_MiB;
  options.custom_header_bytes_ = sizeof(Shared);
  NodeHeap heap(MPI_COMM_WORLD, options);
  const Host host(world, heap, victim);
  std::vector<int> is_far(static_cast<size_t>(world.size()));
  const int i_am_far = host.HasVictim() ? 0 : 1;
  MPI_Allgather(&i_am_far, 1, MPI_INT, is_far.data(), 1, MPI_INT, MPI_COMM_WORLD);
  auto* shared = heap->GetCustomHeader<Shared>();
  if (world.rank() == victim) {
    std::printf("rank %d: seed %u\n", victim, seed);
    std::fflush(stdout);
    MakeGifts(heap, shared);
  }
  world.Barrier();
  if (world.rank() == victim) {
    ArmDeath(random);
    while (true) WorkOnce(heap, shared, random);
  }
  WorkUntilDeath(host, heap, shared, random);
  FreeGifts(host, heap, shared);
  WaitForSurvivors(host, shared, 1);
  if (host.IsFirstSurvivor()) {
    MPI_CHECK(heap->Check());  // while nobody works
    MPI_CHECK(segments.Count() == 0);
    std::printf("rank_killed: all %d %s rank %d ok\n", host.survivors_,
                host.HasVictim() ? "survivors of" : "far from", victim);
    std::fflush(stdout);  // the ranks that wait for it end, and mpirun ends whoever is left
  }
  WaitForVerdict(world, host, is_far);
  WaitForSurvivors(host, shared, 2);
}

}  // namespace

int main(int argc, char** argv) {
  const World world(&argc, &argv);
  const int asked = argc > 1 ? std::atoi(argv[1]) : -1;
  LiveOn(world, asked < 0 ? world.size() - 1 : asked);
  std::fflush(stdout);
  std::_Exit(0);  // Open MPI's MPI_Finalize may wait for the dead rank for ever
}
