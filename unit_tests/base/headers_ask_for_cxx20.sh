#!/usr/bin/env bash
# The first error of each public header that an older standard does not compile says what is needed:
#   headers_ask_for_cxx20.sh CXX_COMPILER INCLUDE_FOLDER [INCLUDE_FOLDER...]
# Those for MPI are left out, for they need its compiler.
set -euo pipefail
compiler=$1 include=$2
shift
failed=0
seen=0
while read -r header; do
  output=$("$compiler" -x c++ -std=c++17 -Wfatal-errors -fsyntax-only "${@/#/-I}" - 2>&1 \
    <<<"#include \"$header\"") && continue
  seen=$((seen + 1))
  first=$(grep -m 1 'error:' <<<"$output")
  if [[ $first != *'hshm needs C++20'* ]]; then
    echo "$header: $first"
    failed=1
  fi
done < <(cd "$include" && find hermes_shm -name '*.h' ! -path '*/mpi/*')
echo "$seen headers do not compile as C++17"
[ "$seen" -gt 100 ] && exit $failed
