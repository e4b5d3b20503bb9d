# The MPI tests; hshm_add_mpi_test and hshm_add_host_test stand in CMakeLists.txt.

foreach(test IN ITEMS manager_pattern node_heap_set_up cross_rank_free set_up_failures
        sub_communicators detach_order after_finalize heap_memory)
  hshm_add_mpi_test(mpi_${test} SOURCES ${test}.cc RANKS 2 4 8)
endforeach()

# The others must go on when a rank is killed; by default mpirun kills them too.
execute_process(COMMAND "${MPIEXEC_EXECUTABLE}" --version OUTPUT_VARIABLE hshm_mpiexec_version)
if(hshm_mpiexec_version MATCHES "Open MPI|OpenRTE")
  set(survivors_go_on --continuous)
else()
  set(survivors_go_on "${CMAKE_CURRENT_SOURCE_DIR}/outlive.sh")
endif()
foreach(victim IN ITEMS 0 -1)
  set(name mpi_rank_killed)
  if(victim EQUAL 0)
    set(name mpi_leader_killed)
  endif()
  hshm_add_mpi_test(${name} SOURCES rank_killed.cc RANKS 2 4 8 LABELS crash
    MPIRUN_ARGS ${survivors_go_on} ARGS ${victim}
    PASS_REGEX "rank_killed: all [1-7] survivors of rank [0-7] ok")
endforeach()

# Several hosts, each with a /dev/shm of its own.
hshm_add_host_test(mpi_host_set_up SOURCES hosts/host_set_up.cc
  LAYOUTS "2 2" "3 1" "2 2 2" ARGS LAYOUT)
hshm_add_host_test(mpi_host_no_space SOURCES hosts/host_no_space.cc
  LAYOUTS "2 2:64m" "1 2 1:64m")
