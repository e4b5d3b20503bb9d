# The MPI tests; hshm_add_mpi_test stands in CMakeLists.txt.

foreach(test IN ITEMS manager_pattern node_heap_set_up cross_rank_free set_up_failures
        sub_communicators detach_order after_finalize)
  hshm_add_mpi_test(mpi_${test} SOURCES ${test}.cc RANKS 2 4 8)
endforeach()

# Survivors of a killed rank go on under Open MPI's --continuous alone; MPICH kills them.
execute_process(COMMAND "${MPIEXEC_EXECUTABLE}" --version OUTPUT_VARIABLE hshm_mpiexec_version)
if(hshm_mpiexec_version MATCHES "Open MPI|OpenRTE")
  foreach(victim IN ITEMS 0 -1)
    set(name mpi_rank_killed)
    if(victim EQUAL 0)
      set(name mpi_leader_killed)
    endif()
    hshm_add_mpi_test(${name} SOURCES rank_killed.cc RANKS 2 4 8 LABELS crash
      MPIRUN_ARGS --continuous ARGS ${victim}
      PASS_REGEX "rank_killed: all [1-7] survivors of rank [0-7] ok")
  endforeach()
endif()
