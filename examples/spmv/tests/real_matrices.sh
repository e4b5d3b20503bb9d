#!/usr/bin/env bash
# Matrices of the SuiteSparse collection, symmetric and not, against Python and a serial recount:
#   real_matrices.sh MPIRUN SPMV FOLDER
# Those that the folder has, or the one that SPMV_MATRICES names instead; skipped (77) without any.
set -euo pipefail
mpirun=$1 program=$2 folder=${SPMV_MATRICES:-${3:-}}
source "$(dirname "${BASH_SOURCE[0]}")/mpi_env.sh"

count=0

check() {  # TASK MATRIX [SHIFT TOLERANCE]
  local task=$1 matrix=$folder/$2.mtx shift=${3:-0} tolerance=${4:-1e-8} flags=() several=4
  [ -r "$matrix" ] || return 0
  if [ "$task" != product ]; then
    flags=("--$task" --shift "$shift" --tolerance "$tolerance")
    several=2  # they wait for each other in each iteration, and MPICH's ranks poll
  fi
  for ranks in 1 "$several"; do
    run_ranks "$ranks" "$program" "$matrix" "${flags[@]}" --verify --output "vector$ranks" \
      >"said$ranks" 2>err || { cat err >&2; fail "$task of $2 on $ranks ranks: exit status $?"; }
    grep -q '^verified: ' err || fail "$task of $2 on $ranks ranks: not verified"
    cmp vector1 "vector$ranks" >&2 || fail "$task of $2: another vector on $ranks ranks"
    diff said1 "said$ranks" >&2 || fail "$task of $2: another result on $ranks ranks"
  done
  python3 "$here/matrices.py" "$task" "$matrix" vector1 said1 "$shift" "$tolerance" >&2 ||
    fail "$task of $2 is wrong"
  count=$((count + 1))
}

for name in west0067 jagmesh7 olm1000 zenios; do check product $name; done
check power west0067 20 1e-2  # not symmetric: without a shift its eigenvalues come in complex pairs
check power jagmesh7 2 1e-3
check cg jagmesh7 3 1e-10     # whose eigenvalues are above -3
check power zenios 0 1e-6
if [ "$count" -eq 0 ]; then
  echo "real_matrices: skipped, there is no matrix in '$folder'; see SPMV_MATRICES"
  exit 77
fi
no_shared_memory_left || fail "left something in shared memory"
echo "real_matrices: $count tasks, on one rank and on several"
