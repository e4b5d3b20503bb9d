#!/usr/bin/env bash
# The result is right, and the same to the last bit with any number of ranks and nodes:
#   same_result.sh MPIRUN SPMV TWO_NODES_LIBRARY
set -euo pipefail
mpirun=$1 program=$2 two_nodes=$3
source "$(dirname "${BASH_SOURCE[0]}")/mpi_env.sh"

count=0

run() {  # RANKS [env setting...] -- spmv's arguments: into out, vector and err
  local ranks=$1 settings=()
  shift
  while [ "$1" != -- ]; do settings+=("$1"); shift; done
  shift
  rm -f vector
  run_ranks "$ranks" env "${settings[@]}" "$program" "$@" --output vector >out 2>err ||
    { cat err >&2; fail "$ranks ranks, $*: exit status $?"; }
  no_shared_memory_left || fail "$ranks ranks, $*: left something in shared memory"
  count=$((count + 1))
}

same() {  # RANKS...: as run gives out and vector the same as those that are expected
  run "$@"
  diff out expected >difference || { cat difference >&2; fail "$*: another result"; }
  cmp vector expected_vector >&2 || fail "$*: another vector"
}

expect() { run "$@"; mv out expected; mv vector expected_vector; }  # same as run

right() {  # TASK MATRIX [SHIFT [TOLERANCE]]: as python computes it
  python3 "$here/matrices.py" "$1" "$2" expected_vector expected "${@:3}" >&2 ||
    fail "$1 of $2 is wrong"
}

python3 "$here/matrices.py" make

for kind in symmetric skew pattern integer; do
  expect 4 -- "made_$kind.mtx" --verify --repeat 2
  right product "made_$kind.mtx"
done

expect 1 -- made_general.mtx
right product made_general.mtx
for ranks in 2 4 8; do same "$ranks" -- made_general.mtx --verify; done
same 2 -- made_general.mtx --replicated
same 5 LD_PRELOAD="$two_nodes" -- made_general.mtx --verify
grep -q '^ranks: 5 on 2 nodes' err || fail "not on 2 nodes"
gzip -k made_general.mtx
run 3 -- made_general.mtx.gz
cmp vector expected_vector >&2 || fail "gzip: another vector"

expect 4 -- made_positive.mtx --power --shift 0.5 --tolerance 1e-10 --verify
right power made_positive.mtx 0.5 1e-10
same 3 LD_PRELOAD="$two_nodes" -- made_positive.mtx --power --shift 0.5 --tolerance 1e-10 --verify

for task in power cg; do
  expect 1 -- made_poisson10.mtx --$task --tolerance 1e-6 --verify
  right $task made_poisson10.mtx 0 1e-6
  sed 1d expected >below && mv below expected
  for ranks in 2 4; do
    run "$ranks" -- made_poisson10.mtx --$task --tolerance 1e-6
    sed 1d out | diff expected - >&2 || fail "$task, $ranks ranks: another result"
    cmp vector expected_vector >&2 || fail "$task, $ranks ranks: another vector"
  done
  run 5 LD_PRELOAD="$two_nodes" -- --poisson 10 --$task --tolerance 1e-6
  sed 1d out | diff expected - >&2 || fail "$task on 2 nodes: another result"
done

# On a machine of four NUMA nodes two ranks go to each, and the rows follow the nodes.
run 8 HWLOC_SYNTHETIC='node:4 core:2 pu:1' -- --poisson 24 --repeat 1
sed -nE 's/^rank [0-9]: NUMA node ([0-9]) of ([0-9]), [0-9]+ rows from ([0-9]+) on.*/\3 \1 \2/p' \
  err | sort -n | cut -d' ' -f2- | uniq -c | tr -s ' ' >nodes
if ! grep -q '^ 8 0 1$' nodes; then  # as where hshm was built without hwloc
  printf ' 2 %s 4\n' 0 1 2 3 | diff - nodes >&2 || { cat err >&2; fail "other NUMA nodes"; }
fi
echo "same_result: $count runs gave the right result"
