#!/usr/bin/env bash
# Standard output must not depend on the number of ranks, the mode or the compression:
#   same_result.sh MPIRUN KMER_COUNT DATA_FOLDER TWO_NODES_LIBRARY
set -euo pipefail
mpirun=$1 program=$2 data=$3 two_nodes=$4
source "$(dirname "${BASH_SOURCE[0]}")/mpi_env.sh"

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"

fail() { echo "same_result: $*" >&2; exit 1; }

# The excerpt, a genome of many short records with breaks and CRLF, and one without line ends.
gzip -dc "$data/ecoli_excerpt.fa.gz" >excerpt.fa
awk 'NR % 9 == 0 { print ">record " NR " ACGT" } !/^>/ { sub("CCA", "nRy"); print tolower($0) }' \
  excerpt.fa | sed '1s/^/>first\n/; s/$/\r/' >records.fa
{ head -1 excerpt.fa; tail -n +2 excerpt.fa | tr -d '\n'; } >one_line.fa

compare() {  # WHAT RANKS PROGRAM [argument...]
  local what=$1 ranks=$2
  shift 2
  run_ranks "$ranks" "$@" >out 2>err || { cat err >&2; fail "$what: exit status $?"; }
  sed 1d out | diff expected - >difference || { cat difference >&2; fail "$what: other output"; }
  count=$((count + 1))
}

count=0
for genome in excerpt records one_line; do
  for k in 1 15 31; do
    run_ranks 1 "$program" "$genome.fa" --k "$k" --serial 2>/dev/null | sed 1d >expected
    [ "$(wc -l <expected)" -gt 2 ] || fail "$genome, k = $k: no spectrum"
    for ranks in 1 2 3 4; do
      compare "$genome, k = $k, $ranks ranks" "$ranks" "$program" "$genome.fa" --k "$k"
    done
  done
  for ranks in 2 5; do
    compare "$genome, $ranks ranks on 2 nodes" "$ranks" \
      env LD_PRELOAD="$two_nodes" "$program" "$genome.fa" --verify
    grep -q "^ranks: $ranks on 2 nodes" err || fail "$genome: not on 2 nodes"
  done
  compare "$genome, replicated" 2 "$program" "$genome.fa" --replicated
  compare "$genome, verified" 3 "$program" "$genome.fa" --verify
  gzip -k "$genome.fa"
  compare "$genome, gzip" 3 "$program" "$genome.fa.gz"
  if command -v xz >/dev/null; then
    xz -k "$genome.fa"
    compare "$genome, xz" 3 "$program" "$genome.fa.xz"
  fi
done
echo "same_result: $count runs gave the same"
