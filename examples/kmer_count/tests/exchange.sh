#!/usr/bin/env bash
# exchange.sh MPIRUN RANKS PROGRAM
set -euo pipefail
mpirun=$1
source "$(dirname "${BASH_SOURCE[0]}")/mpi_env.sh"
export HSHM_EXPECT_RANKS=$2
run_ranks "$2" "$3"
