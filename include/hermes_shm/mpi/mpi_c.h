#ifndef HSHM_MPI_MPI_C_H_
#define HSHM_MPI_MPI_C_H_

/**
 * MPI's C interface alone: Open MPI's and MPICH's mpi.h otherwise bring in the C++ bindings that
 * MPI 3 removed, which warn under -Wextra and need libraries of their own.
 */
#ifndef OMPI_SKIP_MPICXX
#define OMPI_SKIP_MPICXX 1
#endif
#ifndef MPICH_SKIP_MPICXX
#define MPICH_SKIP_MPICXX 1
#endif
#include <mpi.h>

#endif  // HSHM_MPI_MPI_C_H_
