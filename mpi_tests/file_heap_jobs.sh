#!/bin/sh
# Jobs one after the other on one file-backed heap:
#   file_heap_jobs.sh RUN_RANKS MPIRUN RANKS SECONDS PROGRAM
# The first writes and ends, the second is killed while it writes (a rank by SIGKILL, and with it
# the job), the third reads on another number of ranks what the two said that they had written.
set -eu
run_ranks=$1 mpirun=$2 ranks=$3 seconds=$4 program=$5

folder=$(mktemp -d "${TMPDIR:-/tmp}/hshm_file_heap_jobs_XXXXXX")
trap 'rm -rf "$folder"' EXIT

"$run_ranks" "$mpirun" "$ranks" "$seconds" "$program" write "$folder"
if "$run_ranks" "$mpirun" "$ranks" "$seconds" "$program" write-until-killed "$folder" \
  >"$folder/killed.log" 2>&1; then
  echo "file_heap_jobs: the job that was to be killed ended well"
  cat "$folder/killed.log"
  exit 1
fi
"$run_ranks" "$mpirun" $((ranks / 2 + 1)) "$seconds" "$program" read "$folder"
