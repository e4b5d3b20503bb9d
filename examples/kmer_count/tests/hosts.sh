#!/usr/bin/env bash
# Several hosts give the spectrum of one, and a host without room ends the job with its name:
#   hosts.sh MPIRUN KMER_COUNT DATA_FOLDER RUN_ON_HOSTS
# Exit status 77 where no hosts can be made.
set -euo pipefail
mpirun=$1 program=$2 data=$3 run_on_hosts=$4
source "$(dirname "${BASH_SOURCE[0]}")/mpi_env.sh"

"$run_on_hosts" "$mpirun" 60 1 -- true || exit $?

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"

fail() { echo "hosts: $*" >&2; cat err >&2; exit 1; }

gzip -dc "$data/ecoli_excerpt.fa.gz" >excerpt.fa
for _ in {1..8}; do cat excerpt.fa; done >long.fa  # several slices for each rank
cp "$data/ecoli_excerpt.fa.gz" .

count=0
for genome in long.fa ecoli_excerpt.fa.gz; do
  run_ranks 1 "$program" "$genome" --serial >expected 2>err || fail "serial: exit status $?"
  for layout in '2 2' '3 1' '1 3' '2 2 2'; do
    read -ra hosts <<<"$layout"
    "$run_on_hosts" "$mpirun" 60 "${hosts[@]}" -- "$program" "$genome" >out 2>err ||
      fail "$genome on hosts of $layout ranks: exit status $?"
    cmp out expected || fail "$genome on hosts of $layout ranks: another spectrum"
    grep -q "^ranks: $((${layout// /+})) on ${#hosts[@]} nodes" err || fail "not on $layout"
    count=$((count + 1))
  done
done

# Random text has no word twice: its map outgrows the heap, which is half of what the host has.
awk 'BEGIN { srand(1); print ">r"; for (i = 0; i < 40000; ++i) {
  s = ""; for (j = 0; j < 80; ++j) s = s substr("ACGT", 1 + int(4 * rand()), 1); print s } }' \
  >random.fa

refuse() {  # SENTENCE LAYOUT KMER_COUNT's arguments...
  local sentence=$1 hosts status=0 start=$SECONDS
  read -ra hosts <<<"$2"
  shift 2
  "$run_on_hosts" "$mpirun" 60 "${hosts[@]}" -- \
    sh -c 'p=$1; shift; "$p" "$@"; s=$?; echo "status $s"; exit "$s"' sh "$program" "$@" \
    >out 2>err || status=$?
  [ "$status" = 1 ] || fail "${hosts[*]}: mpirun ended with $status and not 1"
  [ $((SECONDS - start)) -lt 50 ] || fail "${hosts[*]}: hung"
  grep -q "$sentence" err || fail "${hosts[*]}: does not say '$sentence'"
  # Open MPI ends the others soon after the first; whoever is left to tell has the same status.
  ! grep '^status' out | grep -v '^status 1$' || fail "${hosts[*]}: another status"
  count=$((count + 1))
}

for layout in '2 2:64m' '2:64m 2' '2 1:64m 1'; do
  small=0
  for host in $layout; do
    [[ $host != *:64m ]] || break
    small=$((small + 1))
  done
  refuse "NoSpace: rank [0-9] of [0-9] on host host$small: " "$layout" long.fa --heap 256M
  [ "$layout" = '2 1:64m 1' ] ||  # a quarter of the words is not too much
    refuse "On host host$small: NoSpace: the shared heap of [0-9]* MiB is full" "$layout" random.fa
done

# A rank that is killed while all count ends the job, on all hosts.
for _ in {1..6}; do cat random.fa; done >large.fa
status=0 start=$SECONDS
"$run_on_hosts" "$mpirun" 60 2 2 -- sh -c '
  [ "${OMPI_COMM_WORLD_RANK:-${PMI_RANK:-}}" = 3 ] || exec "$@"
  "$@" & counting=$!
  sleep 1
  kill -9 "$counting" && wait "$counting"' sh "$program" large.fa >out 2>err || status=$?
[ "$status" != 0 ] && [ "$status" != 124 ] && [ "$status" != 3 ] || fail "killed: status $status"
[ $((SECONDS - start)) -lt 50 ] || fail "the death of a rank left others hanging"
! grep -q 'words of' out || fail "the rank was killed too late"
count=$((count + 1))

echo "hosts: $count runs as they should be"
