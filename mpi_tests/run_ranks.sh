#!/bin/sh
# Runs a program on N ranks of this machine and ends it after a time limit:
#   run_ranks.sh MPIRUN RANKS SECONDS [mpirun flag...] PROGRAM [argument...]
# Works as root, with more ranks than cores, and binds no rank to a core: a rank has threads.
set -eu

mpirun=$1
ranks=$2
seconds=$3
shift 3

export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1
export OMPI_MCA_rmaps_base_oversubscribe=1 OMPI_MCA_hwloc_base_binding_policy=none
# A waiting rank gives its core away; otherwise 2 ranks on 2 busy cores take ten times as long.
export OMPI_MCA_mpi_yield_when_idle=1
# MPI itself leaks at exit and takes its locks in any order.
export ASAN_OPTIONS="${ASAN_OPTIONS:-detect_leaks=0}"
export TSAN_OPTIONS="${TSAN_OPTIONS:-detect_deadlocks=0}"
export HSHM_EXPECT_RANKS="$ranks"
# What the test's segments and files are named by, so that a failed one leaves none either.
export HSHM_TEST_JOB="test$$"
clean() {
  rm -f "${HSHM_SHM_DIR:-/dev/shm}/hshm-$(id -u)-$HSHM_TEST_JOB"-* \
    "${TMPDIR:-/tmp}/hshm-$(id -u)-$HSHM_TEST_JOB"-*
}
trap clean EXIT

timeout --kill-after=10 "$seconds" "$mpirun" -np "$ranks" "$@" </dev/null
