#!/usr/bin/env bash
# Runs every model and every seeded mistake; each mistake must be found, each model must pass.
#   ./run.sh            all (about 6 minutes)      ./run.sh spans    jobs whose line contains "spans"
#   QUICK=1 ./run.sh    the jobs marked quick (under a minute; this is the test models_quick)
#   FULL=1 ./run.sh     the larger bounds too (about 15 minutes)
# Needs spin and gcc/g++ (Debian: apt-get install spin g++), else returns 77, which CTest shows as skipped.
# JOBS=n parallel checks (default 2), MEMLIM=n MiB for each (default 4000).
cd "$(dirname "$0")" || exit 1
for tool in spin gcc g++; do
  if ! command -v "$tool" >/dev/null; then echo "SKIPPED: $tool is not installed"; exit 77; fi
done
tmp=$(mktemp -d); trap 'rm -rf "$tmp"' EXIT
export tmp
one() {                       # "model | expect | defines | quick or nothing"
  IFS='|' read -r model expect defs _ <<<"$1"; model=${model// /}; expect=${expect// /}
  local d; d=$(mktemp -d -p "$tmp"); cp "$model.pml" "$d"; cd "$d" || exit 1
  local t0=$SECONDS
  # shellcheck disable=SC2086
  spin -a $defs "$model.pml" >spin.log 2>&1; if [ ! -f pan.c ]; then cat spin.log; echo "$1" >>"$tmp/bad"; return; fi
  local level=-O2              # mistakes and quick jobs end soon, compiling takes longer
  if [ "$expect" = fail ] || [ -n "${QUICK:-}" ]; then level=-O1; fi
  gcc $level -w -DSAFETY -DNOREDUCE -DCOLLAPSE -DVECTORSZ=4096 -DMEMLIM="${MEMLIM:-4000}" -o pan pan.c &&
    ./pan -m2000000 -n >pan.log 2>&1
  local errors states why verdict=ok
  errors=$(sed -n 's/.*errors: \([0-9]*\).*/\1/p' pan.log); states=$(awk '/states, stored/ {print $1; exit}' pan.log)
  why=$(grep -m1 -oE 'assertion violated [^(]*|invalid end state|max search depth too small|out of memory|memory limit|VECTORSZ|error:.*' pan.log)
  [ "$errors" = 0 ] && why=
  if grep -qE 'max search depth|reached -DMEMLIM|out of memory' pan.log; then verdict=INCOMPLETE
  elif [ "$expect" != fail ] && [ "$errors" != 0 ]; then verdict=WRONG
  elif [ "$expect" = fail ] && [ "$errors" != 1 ]; then verdict=MISSED; fi
  [ $verdict = ok ] || echo "$1" >>"$tmp/bad"
  rm -f "$d"/pan*
  printf '%-10s %-6s %-4s %10s states %4ss  %-44s %s\n' "$verdict" "$model" "$expect" "$states" $((SECONDS - t0)) "$defs" "${why:0:60}"
}
export -f one
wanted() {
  if [ -n "${QUICK:-}" ]; then grep -E '\| quick$'; elif [ -n "${FULL:-}" ]; then cat; else grep -v '| full |'; fi
}
grep -E '^[a-z]+ \|' jobs.txt | wanted | grep -F -- "${1:-}" >"$tmp/jobs"
if [ ! -s "$tmp/jobs" ] && [ "${1:-}" != real ]; then echo "no job matches '${1:-}'"; exit 1; fi
nice xargs -a "$tmp/jobs" -P "${JOBS:-2}" -d '\n' -I{} bash -c 'one "$1"' _ {}
if [ "${1:-}" = real ] || { [ -z "${1:-}" ] && [ -z "${QUICK:-}" ]; }; then
  g++ -std=c++20 -O2 -Wall -Wextra -pthread -o "$tmp/mutex_kill" mutex_kill.cc && "$tmp/mutex_kill" "${KILLS:-4000}" || echo mutex_kill >>"$tmp/bad"
fi
if [ -f "$tmp/bad" ]; then echo "FAILED:"; cat "$tmp/bad"; exit 1; fi
echo "all as expected, ${SECONDS} s"
