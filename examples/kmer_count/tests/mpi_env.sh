# Sourced: an environment in which Open MPI runs as root, with more ranks than cores, unbound.
export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1
export OMPI_MCA_rmaps_base_oversubscribe=1 OMPI_MCA_hwloc_base_binding_policy=none

seconds=120  # a run that takes longer hangs

run_ranks() {  # RANKS PROGRAM [argument...]
  local ranks=$1
  shift
  timeout --kill-after=10 "$seconds" "$mpirun" -np "$ranks" "$@" </dev/null
}
