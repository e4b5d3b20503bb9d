#ifndef HSHM_UNIT_TESTS_NUMA_RANK_PROCESSES_H_
#define HSHM_UNIT_TESTS_NUMA_RANK_PROCESSES_H_

#include <pthread.h>
#include <sched.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <csignal>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <new>
#include <string>
#include <vector>

#include "hermes_shm/platform/topology.h"

/** Processes that stand for the ranks of a job, and the machine under them. No MPI. */
namespace hshm::test {

inline constexpr uint32_t kRanks = 8;
inline constexpr uint32_t kMachineNodes = 4;
inline constexpr uint32_t kMostSlots = 4096;

/** What the ranks tell each other beside the heap. In a mapping that forked children share. */
struct Board {
  pthread_barrier_t barrier_;
  NodeSet usable_nodes_[kRanks];
  uint32_t node_of_slot_[kMostSlots];  // of the process that has the slot
};

inline Board* MakeBoard() {
  void* memory =
      mmap(nullptr, sizeof(Board), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED) std::abort();
  auto* board = new (memory) Board;
  pthread_barrierattr_t attributes;
  pthread_barrierattr_init(&attributes);
  pthread_barrierattr_setpshared(&attributes, PTHREAD_PROCESS_SHARED);
  pthread_barrier_init(&board->barrier_, &attributes, kRanks);
  pthread_barrierattr_destroy(&attributes);
  return board;
}

/** Ends the rank, and with it the test, unless the condition holds. */
inline void Expect(uint32_t rank, bool condition, const std::string& claim) {
  if (condition) return;
  std::printf("numa_ranks: rank %u: not so: %s\n", rank, claim.c_str());
  std::fflush(stdout);
  _exit(1);
}

inline void Barrier(Board* board) { pthread_barrier_wait(&board->barrier_); }

/** A node as the kernel numbers it, and its CPUs. */
struct KernelNode {
  int number_;
  cpu_set_t cpus_;
};

/** The nodes that have CPUs, by number. */
inline std::vector<KernelNode> KernelNodes() {
  std::vector<KernelNode> nodes;
  for (int number = 0; number < 1024; ++number) {
    std::ifstream list("/sys/devices/system/node/node" + std::to_string(number) + "/cpulist");
    KernelNode node{number, {}};
    CPU_ZERO(&node.cpus_);
    int first = 0;
    while (list >> first) {  // "0-3,8,10-11"
      int last = first;
      if (list.peek() == '-') {
        list.get();
        list >> last;
      }
      for (int cpu = first; cpu <= last; ++cpu) CPU_SET(cpu, &node.cpus_);
      if (list.peek() == ',') list.get();
    }
    if (CPU_COUNT(&node.cpus_) > 0) nodes.push_back(node);
  }
  return nodes;
}

inline void RunOn(const KernelNode& node) {
  if (sched_setaffinity(0, sizeof(node.cpus_), &node.cpus_) != 0) std::abort();
}

/**
 * Runs body(rank) in kRanks processes. When one fails the others are killed, for they may wait for
 * it at a barrier. @return whether all ended as they should: with 0, killed_rank by SIGKILL
 */
template <typename Body>
bool RunRanks(uint32_t killed_rank, Body body) {
  std::fflush(stdout);
  std::array<pid_t, kRanks> pids;
  for (uint32_t rank = 0; rank < kRanks; ++rank) {
    pids[rank] = fork();
    if (pids[rank] < 0) std::abort();
    if (pids[rank] == 0) {
      body(rank);
      std::fflush(stdout);
      _exit(0);
    }
  }
  bool is_right = true;
  for (uint32_t left = kRanks; left != 0;) {
    int status = 0;
    const pid_t pid = wait(&status);
    if (pid < 0) continue;  // a signal
    const auto rank =
        static_cast<uint32_t>(std::find(pids.begin(), pids.end(), pid) - pids.begin());
    if (rank == kRanks) continue;
    --left;
    pids[rank] = -1;
    const bool is_killed = WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL;
    if (!is_right || (rank == killed_rank ? is_killed : status == 0)) continue;
    std::printf("numa_ranks: rank %u ended with wait status %d\n", rank, status);
    is_right = false;
    for (const pid_t other : pids) {
      if (other > 0) kill(other, SIGKILL);
    }
  }
  return is_right;
}

}  // namespace hshm::test

#endif  // HSHM_UNIT_TESTS_NUMA_RANK_PROCESSES_H_
