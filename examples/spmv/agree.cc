#include "agree.h"

namespace spmv {

void Agree(MPI_Comm comm, int status, const std::string& sentence) {
  int rank = 0;
  int ranks = 0;
  MPI_Comm_rank(comm, &rank);
  MPI_Comm_size(comm, &ranks);
  int first = status == kDone ? ranks : rank;  // the lowest that failed
  MPI_Allreduce(MPI_IN_PLACE, &first, 1, MPI_INT, MPI_MIN, comm);
  if (first == ranks) return;
  int about[2] = {status, static_cast<int>(sentence.size())};
  MPI_Bcast(about, 2, MPI_INT, first, comm);
  std::string agreed = sentence;
  agreed.resize(static_cast<size_t>(about[1]));
  MPI_Bcast(agreed.data(), about[1], MPI_CHAR, first, comm);
  throw Failure(about[0], agreed);
}

}  // namespace spmv
