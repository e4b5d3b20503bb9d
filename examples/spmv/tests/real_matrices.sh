#!/usr/bin/env bash
# Matrices of the SuiteSparse collection, symmetric and not, against Python and a serial recount:
#   real_matrices.sh MPIRUN SPMV FOLDER_WITH_THEM
# Skipped (77) where they are not.
set -euo pipefail
mpirun=$1 program=$2 folder=$3
source "$(dirname "${BASH_SOURCE[0]}")/mpi_env.sh"

for name in west0067 olm1000 jagmesh7 zenios; do
  if [ ! -r "$folder/$name.mtx" ]; then
    echo "real_matrices: skipped, there is no $name.mtx in '$folder'; see SPMV_MATRICES"
    exit 77
  fi
done

check() {  # TASK MATRIX [SHIFT TOLERANCE]
  local task=$1 matrix=$folder/$2.mtx shift=${3:-0} tolerance=${4:-1e-8} flags=()
  if [ "$task" != product ]; then flags=("--$task" --shift "$shift" --tolerance "$tolerance"); fi
  for ranks in 1 4; do
    run_ranks "$ranks" "$program" "$matrix" "${flags[@]}" --verify --output "vector$ranks" \
      >/dev/null 2>err || { cat err >&2; fail "$task of $2 on $ranks ranks: exit status $?"; }
    grep -q '^verified: ' err || fail "$task of $2 on $ranks ranks: not verified"
    cmp vector1 "vector$ranks" >&2 || fail "$task of $2: another vector on $ranks ranks"
  done
  python3 "$here/matrices.py" "$task" "$matrix" vector1 "$shift" "$tolerance" >&2 ||
    fail "$task of $2 is wrong"
}

for name in west0067 olm1000 jagmesh7 zenios; do check product $name; done
check power zenios 0 1e-6
check power jagmesh7 2 1e-4
check cg jagmesh7 3 1e-10   # whose eigenvalues are above -3
no_shared_memory_left || fail "left something in shared memory"
echo "real_matrices: 4 matrices, 7 tasks on 1 and 4 ranks"
