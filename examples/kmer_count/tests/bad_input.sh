#!/usr/bin/env bash
# Bad input ends in one sentence, exit status 2 on every rank, and nothing left in shared memory:
#   bad_input.sh MPIRUN KMER_COUNT DATA_FOLDER
set -euo pipefail
mpirun=$1 program=$2 data=$3
source "$(dirname "${BASH_SOURCE[0]}")/mpi_env.sh"

work=$(mktemp -d)
export HSHM_SHM_DIR  # of our own, so that nothing in it comes from anybody else
HSHM_SHM_DIR=$(mktemp -d /dev/shm/kmer_count_XXXXXX)
trap 'rm -rf "$work" "$HSHM_SHM_DIR"' EXIT
cd "$work"

fail() { echo "bad_input: $*" >&2; exit 1; }

good=$data/ecoli_excerpt.fa.gz
gzip -dc "$good" >good.fa
: >empty.fa
head -c 100000 "$program" >binary.fa
{ head -c 30000 good.fa; head -c 100 "$program"; } >half_binary.fa
head -c 40 good.fa >header_only.fa
head -c 9000 "$good" >truncated.fa.gz
printf 'ACGT\n' >no_header.fa
{ printf '>r\nACGTACGT'; printf '%s' '1234'; } >digits.fa

expect() {  # SENTENCE KMER_COUNT's arguments...
  local sentence=$1 ranks=3
  shift
  run_ranks "$ranks" sh -c 'p=$1; shift; "$p" "$@"; echo "status $?"' sh "$program" "$@" \
    >out 2>&1 || fail "$*: mpirun ended with $?"
  [ "$(grep -c '^status 2$' out)" = "$ranks" ] || { cat out >&2; fail "$*: not 2 on all ranks"; }
  grep '^kmer_count: ' out >said || { cat out >&2; fail "$*: says nothing"; }
  [ "$(wc -l <said)" = 1 ] || { cat said >&2; fail "$*: more than one sentence"; }
  grep -qF -e "$sentence" said || { cat said >&2; fail "$*: does not say '$sentence'"; }
  [ -z "$(ls -A "$HSHM_SHM_DIR")" ] || fail "$*: left something in shared memory"
  count=$((count + 1))
}

count=0
for mode in '' --serial --replicated; do
  expect 'No such file' missing.fa $mode
  expect 'empty.fa is empty' empty.fa $mode
  expect 'is not FASTA' binary.fa $mode
  expect 'is no letter of a sequence' half_binary.fa $mode
  expect 'truncated' header_only.fa $mode
  expect 'truncated' truncated.fa.gz $mode
  expect 'is not FASTA' no_header.fa $mode
  expect "'1' at byte 11" digits.fa $mode
  expect 'not a regular file' "$work" $mode
done
if command -v xz >/dev/null; then
  xz -k good.fa && head -c 5000 good.fa.xz >truncated.fa.xz
  expect 'truncated' truncated.fa.xz
fi
for k in 0 2 30 32 33 -1 x ''; do expect 'odd number from 1 to 31' good.fa --k "$k"; done
expect 'No genome' --k 31
expect 'no option --words' good.fa --words
expect 'A size is' good.fa --heap 1X
echo "bad_input: $count cases refused"
