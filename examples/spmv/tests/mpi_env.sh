# Sourced: an environment in which Open MPI runs as root, with more ranks than cores, unbound; a
# folder of this test's own to work in, and one for its shared memory; both go in the end.
export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1
export OMPI_MCA_rmaps_base_oversubscribe=1 OMPI_MCA_hwloc_base_binding_policy=none
export OMPI_MCA_mpi_yield_when_idle=1

test=$(basename "$0" .sh)
here=$(cd "$(dirname "$0")" && pwd)
work=$(mktemp -d)
export HSHM_SHM_DIR
HSHM_SHM_DIR=$(mktemp -d /dev/shm/spmv_XXXXXX)
trap 'rm -rf "$work" "$HSHM_SHM_DIR"' EXIT
cd "$work"

fail() { echo "$test: $*" >&2; exit 1; }

run_ranks() {  # RANKS PROGRAM [argument...]; a run that takes two minutes hangs
  local ranks=$1
  shift
  timeout --kill-after=10 120 "$mpirun" -np "$ranks" "$@" </dev/null
}

no_shared_memory_left() { [ -z "$(ls -A "$HSHM_SHM_DIR")" ]; }
