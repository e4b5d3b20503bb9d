# The ways in which tests run on libhshm_malloc: their names are in hshm_malloc_variants, and what
# the environment says then in hshm_malloc_environment_<name>. A line more is one way more.
set(hshm_malloc_variants "")
macro(hshm_malloc_variant name)
  list(APPEND hshm_malloc_variants ${name})
  set(hshm_malloc_environment_${name} "LD_PRELOAD=$<TARGET_FILE:hshm_malloc>" ${ARGN})
endmacro()

hshm_malloc_variant(private HSHM_MALLOC_BACKEND=private)
hshm_malloc_variant(shm HSHM_MALLOC_BACKEND=shm)
hshm_malloc_variant(checked HSHM_MALLOC_BACKEND=private HSHM_CHECKED=1)
