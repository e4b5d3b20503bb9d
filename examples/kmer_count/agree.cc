#include "agree.h"

#include <chrono>
#include <thread>

namespace kmer_count {
namespace {

void QuietBarrier(MPI_Comm comm) {
  MPI_Request request;
  MPI_Ibarrier(comm, &request);
  for (int passed = 0;;) {
    MPI_Test(&request, &passed, MPI_STATUS_IGNORE);
    if (passed) return;
    std::this_thread::sleep_for(std::chrono::milliseconds(2));
  }
}

}  // namespace

void Agree(MPI_Comm comm, int status, const std::string& sentence) {
  QuietBarrier(comm);
  int rank = 0;
  int ranks = 0;
  MPI_Comm_rank(comm, &rank);
  MPI_Comm_size(comm, &ranks);
  const int mine = status == kDone ? ranks : rank;
  int speaker = ranks;  // the lowest rank that failed
  MPI_Allreduce(&mine, &speaker, 1, MPI_INT, MPI_MIN, comm);
  if (speaker == ranks) return;
  int about[2] = {status, static_cast<int>(sentence.size())};
  MPI_Bcast(about, 2, MPI_INT, speaker, comm);
  std::string agreed = sentence;
  agreed.resize(about[1]);
  MPI_Bcast(agreed.data(), about[1], MPI_CHAR, speaker, comm);
  throw Failure(about[0], agreed);
}

}  // namespace kmer_count
