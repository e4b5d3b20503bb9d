/**
 * Preloaded under a test: MPI believes that the odd ranks are on another node. Each half then has a
 * heap of its own, as on two machines.
 */

#include <mpi.h>

extern "C" __attribute__((visibility("default"))) int MPI_Comm_split_type(MPI_Comm comm, int type,
                                                                          int key, MPI_Info info,
                                                                          MPI_Comm* parts) {
  MPI_Comm node = MPI_COMM_NULL;
  const int result = PMPI_Comm_split_type(comm, type, key, info, &node);
  if (result != MPI_SUCCESS || node == MPI_COMM_NULL) return result;
  PMPI_Comm_free(&node);
  int rank = 0;
  PMPI_Comm_rank(MPI_COMM_WORLD, &rank);
  return PMPI_Comm_split(comm, rank % 2, key, parts);
}
