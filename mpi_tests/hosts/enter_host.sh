#!/bin/sh
# Stands in for ssh between the hosts of run_on_hosts.sh:
#   enter_host.sh [flag...] NAME COMMAND...
# Flags are those that mpirun gives to ssh; none of them matters here.
set -eu
while [ "${1#-}" != "$1" ]; do shift; done
name=$1
shift
read -r pid <"$HSHM_HOSTS_FOLDER/$name.pid"
folder=$PWD
exec nsenter --target "$pid" --net --uts --ipc --mount \
  sh -c 'cd "$1" && eval "$2"' sh "$folder" "$*"
