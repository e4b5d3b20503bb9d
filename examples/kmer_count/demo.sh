#!/usr/bin/env bash
# The main job of hshm on a real genome, checked and measured:
#   demo.sh BUILD_FOLDER HSHM_PREFIX
# The last line begins with "demo: ok", and the exit status is 0, only if all is as it should be.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
program=$(cd "$1" && pwd)/kmer_count
prefix=$2
mpirun=${MPIRUN:-mpirun}
source "$here/tests/mpi_env.sh"
seconds=300
libraries=$prefix/lib:$prefix/lib/$(uname -m)-linux-gnu
export LD_LIBRARY_PATH=$libraries${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

fail() { echo "demo: failed: $*"; exit 1; }

genome=/usr/share/doc/bowtie/examples/genomes/NC_008253.fna.gz
[ -r "$genome" ] || genome=$here/data/ecoli_excerpt.fa.gz

count() {  # NAME RANKS [argument...]: the spectrum goes to NAME.out, the figures to NAME.err
  local name=$1 ranks=$2
  shift 2
  run_ranks "$ranks" "$program" "$genome" --k 31 "$@" >"$work/$name.out" 2>"$work/$name.err" ||
    { cat "$work/$name.err"; fail "$name ended with status $?"; }
}

figure() { awk -v what="$2" 'index($0, what " ") == 1 { print $(NF - 1) }' "$work/$1.err"; }

median() { sort -n | awk '{ v[NR] = $1 } END { print v[int((NR + 1) / 2)] }'; }

# Segments of this user's node heaps.
shm_files() { (cd /dev/shm && find . -maxdepth 1 -name "hshm-$(id -u)-*" | sort); }
shm_files >"$work/before"

echo "demo: $genome, words of 31 bases, 4 ranks, one map in one heap"
count shared4 4 --verify
cat "$work/shared4.out" "$work/shared4.err"
grep -q '^verified: ' "$work/shared4.err" || fail "the spectrum was not verified"
grep -q '^ranks: 4 ' "$work/shared4.err" || fail "mpirun did not start 4 ranks of one job"

echo "demo: the same without a shared heap, and with other numbers of ranks"
count replicated4 4 --replicated
count shared1 1
for _ in 1 2 3; do  # interleaved, so that a noisy machine disturbs both alike
  count serial 1 --serial
  count shared2 2
  figure serial 'time all' >>"$work/serial.times"
  figure shared2 'time all' >>"$work/shared2.times"
done
for name in replicated4 shared1 shared2 serial; do
  diff "$work/shared4.out" "$work/$name.out" >/dev/null || fail "$name gives another spectrum"
done

shm_files >"$work/after"
left=$(comm -13 "$work/before" "$work/after")
[ -z "$left" ] || fail "left in /dev/shm: $left"

ratio() { awk -v a="$1" -v b="$2" 'BEGIN { printf "%.2f", a / b }'; }
below() { awk -v a="$1" -v b="$2" 'BEGIN { exit !(a < b) }'; }
row() { printf '%-42s %12s   %s\n' "$@"; }
memory() { figure "$1" 'memory node'; }

serial_seconds=$(median <"$work/serial.times")
shared2_seconds=$(median <"$work/shared2.times")
share=$(ratio "$(memory shared4)" "$(memory shared1)")
copies=$(ratio "$(memory replicated4)" "$(memory serial)")

echo
row 'words of 31 bases, counted by' 'memory, MB' 'seconds'
row '1 process, std::unordered_map' "$(memory serial)" "$serial_seconds"
row '4 ranks, a std::unordered_map each' "$(memory replicated4)" "$(figure replicated4 'time all')"
row '1 rank,  one map in the shared heap' "$(memory shared1)" "$(figure shared1 'time all')"
row '2 ranks, one map in the shared heap' "$(memory shared2)" "$shared2_seconds"
row '4 ranks, one map in the shared heap' "$(memory shared4)" "$(figure shared4 'time all')"
echo

distinct=$(awk 'NR == 1 { print $(NF - 3) }' "$work/shared4.out")
if [ "$distinct" -gt 1000000 ]; then
  echo "4 ranks take $share times the memory of 1 rank; with a map each, $copies times."
  echo "2 ranks take $(ratio "$shared2_seconds" "$serial_seconds") of the time of 1 process."
  below "$share" 1.15 || fail "4 ranks take $share times the memory of 1 rank, 1.15 is the limit"
  below "$shared2_seconds" "$serial_seconds" || fail "2 ranks are not faster than 1 process"
else
  echo "So small a genome says nothing about time or memory; bowtie-examples has a whole one."
fi
echo "demo: ok, $distinct distinct words in one map, filled by 4 ranks, checked by a recount"
