#!/usr/bin/env bash
# Bad input ends in one sentence, the same exit status on every rank, nothing in shared memory:
#   bad_input.sh MPIRUN SPMV TWO_NODES_LIBRARY
set -euo pipefail
mpirun=$1 program=$2 two_nodes=$3
source "$(dirname "${BASH_SOURCE[0]}")/mpi_env.sh"

count=0 ranks=3 settings=()

expect() {  # STATUS SENTENCE spmv's arguments...
  local status=$1 sentence=$2
  shift 2
  run_ranks "$ranks" env "${settings[@]}" sh -c 'p=$1; shift; "$p" "$@"; echo "status $?"' sh \
    "$program" "$@" >out 2>&1 || fail "$*: mpirun ended with $?"
  [ "$(grep -c "^status $status\$" out)" = "$ranks" ] ||
    { cat out >&2; fail "$*: not $status on all ranks"; }
  grep '^spmv: ' out >said || { cat out >&2; fail "$*: says nothing"; }
  [ "$(cat said)" = "spmv: $sentence" ] || { cat said >&2; fail "$*: does not say '$sentence'"; }
  no_shared_memory_left || fail "$*: left something in shared memory"
  count=$((count + 1))
}

matrix() {  # FILE KIND LINE...
  printf '%s\n' "%%MatrixMarket matrix coordinate $2" "${@:3}" >"$1"
}

matrix good.mtx 'real symmetric' '3 3 4' '1 1 4' '2 2 4' '3 3 4' '3 1 -1'
echo 'not a matrix' >none.mtx
matrix outside.mtx 'real general' '3 3 4' '1 1 1' '2 2 1' '3 4 1' '4 3 1'
matrix short.mtx 'real general' '3 3 5' '1 1 1' '2 2 1'
matrix promise.mtx 'real general' '2147483647 2147483647 18446744073709551615' '1 1 1'
matrix long.mtx 'real general' '3 3 1' '1 1 1' '2 2 1' '3 3 1' '1 2 1'
matrix nan.mtx 'real general' '3 3 3' '1 1 1' '2 2 1' '3 3 nan'
matrix huge.mtx 'real general' '3 99999999999999999999 1' '1 1 1'
matrix many_rows.mtx 'real general' '2147483647 1 1' '1 1 1'
matrix sum.mtx 'real general' '3 3 4' '1 1 1' '3 2 1.7e308' '3 2 1.7e308' '2 2 1'
matrix wide_good.mtx 'real general' '2 3 2' '1 1 1' '2 3 1'
matrix unsymmetric.mtx 'real general' '3 3 4' '1 1 4' '2 2 4' '3 3 4' '3 1 -1'
matrix indefinite.mtx 'real symmetric' '2 2 3' '1 1 1' '2 2 1' '2 1 -3'
matrix negative.mtx 'real symmetric' '3 3 3' '1 1 1' '2 2 1' '3 3 -1'
matrix large.mtx 'real general' '2 2 3' '1 1 1e300' '2 2 1e300' '1 2 1e300'
for i in $(seq 2000); do echo "$((i % 50 + 1)) $((i * i % 50 + 1)) $i.5"; done >lines
matrix long_good.mtx 'real general' '50 50 2000' "$(cat lines)"
gzip -c long_good.mtx | head -c 5000 >truncated.mtx.gz

expect 2 'Cannot read missing.mtx: No such file or directory.' missing.mtx
expect 2 'none.mtx is not a Matrix Market file: it does not begin with %%MatrixMarket.' none.mtx
# The first mistake of the file is the one that is reported, whoever finds one first.
for ranks in 1 8; do
  expect 2 "outside.mtx, line 5: the column '4' is outside 1 to 3." outside.mtx
done
ranks=3
expect 2 'short.mtx has too few entries: its size line says 5, and there are 2.' short.mtx
expect 2 'promise.mtx has too few entries: its size line says 18446744073709551615, and '\
'behind it are 6 bytes.' promise.mtx --heap 64M
expect 2 'long.mtx has too many entries: its size line says 1, and there are 4.' long.mtx
expect 2 "nan.mtx, line 5: the value 'nan' is not finite, or too large for a double." nan.mtx
expect 2 "huge.mtx, line 2: the size '99999999999999999999' does not fit into 64 bits." huge.mtx
expect 1 'The heap of 64 MiB has no room for 2147483648 numbers of 8 bytes: give a larger --heap.' \
  many_rows.mtx --heap 64M
expect 2 'sum.mtx: the entries of element (3, 2) add up to more than a double holds.' sum.mtx
run_ranks 1 "$program" truncated.mtx.gz >said 2>&1 && fail "truncated.mtx.gz was accepted"
bytes=$(sed -n 's/^spmv: .*behind \([0-9]*\) bytes of text\.$/\1/p' said)
expect 2 "truncated.mtx.gz is truncated: as gzip, behind $bytes bytes of text." truncated.mtx.gz
expect 2 'The solvers need a square matrix, and wide_good.mtx has 2 rows and 3 columns.' \
  wide_good.mtx --power
expect 2 'Conjugate gradients need a symmetric matrix, and unsymmetric.mtx is not.' \
  unsymmetric.mtx --cg
expect 2 'Conjugate gradients need a positive definite matrix, and negative.mtx is not: it has no '\
'positive number on the diagonal of row 3.' negative.mtx --cg
expect 2 'Conjugate gradients need a positive definite matrix, and indefinite.mtx is not: '\
"iteration 1 met a direction p with p'Ap <= 0." indefinite.mtx --cg
expect 1 'The numbers grow beyond what a double holds in iteration 1.' large.mtx --power
expect 1 'No convergence in 2 iterations; --iterations, --tolerance and --shift may help.' \
  --poisson 9 --power --iterations 2
expect 1 'Cannot write /nowhere/y: No such file or directory.' good.mtx --output /nowhere/y
expect 2 'No matrix was given; --help shows how.'
settings=(LD_PRELOAD="$two_nodes")
expect 2 "outside.mtx, line 5: the column '4' is outside 1 to 3." outside.mtx
expect 2 "truncated.mtx.gz is truncated: as gzip, behind $bytes bytes of text." truncated.mtx.gz
echo "bad_input: $count cases refused"
