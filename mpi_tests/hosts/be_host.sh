#!/usr/bin/env bash
# The first process of a host, in namespaces of its own; run_on_hosts.sh starts it:
#   be_host.sh NAME SHM_SIZE [word...]
# What lies in /tmp and stands among the words, this script and the working folder stay visible.
set -euo pipefail
name=$1 shm_size=$2
shift 2

hostname "$name"
ip link set lo up
mount -t tmpfs -o "size=$shm_size" tmpfs /dev/shm

fresh=$HSHM_HOSTS_FOLDER/$name.tmp
mkdir "$fresh"
mount -t tmpfs tmpfs "$fresh"
for word in "$0" "$PWD" "$@"; do
  if [[ $(realpath -m -- "$word") =~ ^/tmp/([^/]+) ]] && [ -d "${BASH_REMATCH[0]}" ]; then
    mkdir -p "$fresh/${BASH_REMATCH[1]}"
    mountpoint -q "$fresh/${BASH_REMATCH[1]}" ||
      mount --bind "${BASH_REMATCH[0]}" "$fresh/${BASH_REMATCH[1]}"
  fi
done
mount --rbind "$fresh" /tmp

echo ready >"$HSHM_HOSTS_FOLDER/$name.ready"
exec sleep infinity
