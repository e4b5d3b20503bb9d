#!/usr/bin/env bash
# Runs a program under MPI on several hosts, all of them on this machine:
#
#   run_on_hosts.sh MPIRUN SECONDS RANKS[:SHM_SIZE]... -- [mpirun flag...] PROGRAM [argument...]
#
# `2 2` are two hosts with two ranks each; `3 1:64m` one with three ranks, and one with a single
# rank and a /dev/shm of 64 MiB. They are called host0, host1, ... and have a network, a hostname,
# IPC, /dev/shm and /tmp of their own; only the files of the machine are the same for all of them,
# as on a cluster. MPIRUN is Open MPI's or MPICH's and runs on host0.
#
# The hosts lie in an outer set of namespaces that ends with this script's process. So the kernel
# takes bridge, mounts and processes away, whatever the script dies of, and several scripts at the
# same time never meet.
#
# Exit status: mpirun's; 124 after SECONDS; 3 when the run leaves a segment in a host's /dev/shm; 77
# and a sentence where no hosts can be made, for that needs root, iproute2 and util-linux. MPICH
# needs a C compiler too.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)

skip() { echo "run_on_hosts: skipped: $*"; exit 77; }
die() { echo "run_on_hosts: $*" >&2; exit 2; }

# ---------------------------------------------------------------- outside

outer=(unshare --net --uts --ipc --mount --pid --fork --kill-child --mount-proc)

if [ "${HSHM_HOSTS_STAGE:-outside}" = outside ]; then
  [ "$(id -u)" = 0 ] || skip "not root"
  for tool in ip unshare nsenter; do
    command -v "$tool" >/dev/null || skip "there is no program $tool"
  done
  "${outer[@]}" ip link add probe type bridge 2>/dev/null ||
    skip "this system lets nobody make namespaces and bridges"
  HSHM_HOSTS_STAGE=inside exec "${outer[@]}" "$here/run_on_hosts.sh" "$@"
fi

# ---------------------------------------------------------------- inside

trap 'exit 130' INT TERM HUP  # the first process of a namespace gets only the signals that it traps

read_arguments() {
  [ $# -ge 5 ] || die "too few arguments; the top of this script says how"
  mpirun=$(command -v "$1") || die "there is no $1"
  seconds=$2
  shift 2
  ranks=() shm_sizes=() total=0
  for argument in "$@"; do
    [ "$argument" != -- ] || break
    [[ $argument =~ ^([1-9][0-9]*)(:([0-9]+[kmg]))?$ ]] || die "no host: '$argument'"
    ranks+=("${BASH_REMATCH[1]}")
    shm_sizes+=("${BASH_REMATCH[3]:-50%}")
    total=$((total + BASH_REMATCH[1]))
  done
  shift $((${#ranks[@]} + 1))
  command=("$@")
}

make_network() {
  # Everything that must go with us lies here: where this machine mounts removable disks.
  export HSHM_HOSTS_FOLDER=/media
  mount -t tmpfs tmpfs "$HSHM_HOSTS_FOLDER"
  local number
  echo '127.0.0.1 localhost' >"$HSHM_HOSTS_FOLDER/hosts"
  for number in "${!ranks[@]}"; do
    echo "10.0.0.$((number + 1)) host$number" >>"$HSHM_HOSTS_FOLDER/hosts"
  done
  mount --bind "$HSHM_HOSTS_FOLDER/hosts" /etc/hosts
  ip link add bridge0 type bridge
  ip link set bridge0 up
}

make_host() {  # NUMBER
  local name=host$1 pid word
  mkfifo "$HSHM_HOSTS_FOLDER/$name.ready"
  unshare --net --uts --ipc --mount "$here/be_host.sh" "$name" "${shm_sizes[$1]}" "${command[@]}" &
  pid=$!
  # Read and write, so that the open does not wait for a host that has failed.
  read -rt 20 word <>"$HSHM_HOSTS_FOLDER/$name.ready" || die "$name could not be made"
  ip link add "to_$name" type veth peer name eth0 netns "$pid"
  ip link set "to_$name" master bridge0 up
  nsenter --target "$pid" --net ip address add "10.0.0.$(($1 + 1))/24" dev eth0
  nsenter --target "$pid" --net ip link set eth0 up
  echo "$pid" >"$HSHM_HOSTS_FOLDER/$name.pid"
}

# UCX, below MPICH, takes the hosts for one machine by its boot id, and would share memory with
# ranks of another host; TCP is all that there is between hosts. Over TCP MPI_Finalize of MPICH
# before 4.2 often hangs: a rank closes its connections, and who should answer waits in the process
# manager's barrier (pull request 6596 of pmodels/mpich). So no connection is closed here but by the
# end of its process.
mpich_flags() {
  local library=$HSHM_HOSTS_FOLDER/no_disconnect.so
  flags+=(-genv UCX_TLS tcp,self)
  echo 'void* ucp_disconnect_nb(void* end) { return end ? 0 : end; }' |
    cc -x c -shared -fPIC -o "$library" -
  flags+=(-genv LD_PRELOAD "$library")
}

host_flags() {  # what tells mpirun where the ranks go
  local number list=
  for number in "${!ranks[@]}"; do list+=",host$number:${ranks[$number]}"; done
  if [[ $("$mpirun" --version 2>&1) =~ Open\ MPI|OpenRTE ]]; then
    flags=(--host "${list#,}" --map-by slot --mca plm_rsh_agent "$here/enter_host.sh")
  else
    flags=(-hosts "${list#,}" -launcher ssh -launcher-exec "$here/enter_host.sh")
    mpich_flags
  fi
}

check_nothing_left() {
  local number left
  for number in "${!ranks[@]}"; do
    left=$("$here/enter_host.sh" "host$number" "ls /dev/shm | grep -i hshm || true")
    [ -z "$left" ] || { echo "run_on_hosts: left in host$number's /dev/shm: $left" >&2; exit 3; }
  done
}

read_arguments "$@"
make_network
for number in "${!ranks[@]}"; do make_host "$number"; done
host_flags
status=0
# In the background, so that a signal is not kept waiting until mpirun ends.
"$here/enter_host.sh" host0 "exec $(printf '%q ' "$here/../run_ranks.sh" "$mpirun" "$total" \
  "$seconds" "${flags[@]}" "${command[@]}")" &
wait $! || status=$?
check_nothing_left
exit $status
