#!/bin/sh
# Runs the guide's programs on three ranks: both followers must attach, and no segment may stay.
#   test.sh MPIRUN PROGRAM
set -eu

mpirun=$1
program=$2
# A directory of its own, so that other jobs of this machine with the guide's names do not matter.
HSHM_SHM_DIR=$(mktemp -d /dev/shm/hshm_guide.XXXXXX)
export HSHM_SHM_DIR
trap 'rm -rf "$HSHM_SHM_DIR"' EXIT
export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1
export OMPI_MCA_rmaps_base_oversubscribe=1 OMPI_MCA_hwloc_base_binding_policy=none

# The guide prints \n as two characters here and there; lines are easier to judge.
output=$(timeout --kill-after=10 60 "$mpirun" -np 3 "$program" </dev/null)
output=$(printf '%s' "$output" | sed 's/\\n/\n/g')
printf '%s\n' "$output"

fail() {
  printf 'guide test: %s\n' "$1" >&2
  exit 1
}
printf '%s' "$output" | grep -q 'Custom header: 0x12345678' || fail 'the first program is wrong'
for rank in 1 2; do
  attached=$(printf '%s' "$output" | grep -c "^Rank $rank: .* Successfully attached") || true
  [ "$attached" -eq 2 ] || fail "rank $rank attached $attached times, not to both allocators"
done
shared=$(printf '%s' "$output" | grep -c 'guide: 3 of 3 ranks share the allocator')
[ "$shared" -eq 2 ] || fail "all ranks shared an allocator $shared times, not twice"
[ -z "$(ls "$HSHM_SHM_DIR")" ] || fail "a segment stayed: $(ls "$HSHM_SHM_DIR")"
