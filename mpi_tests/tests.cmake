# The MPI tests; hshm_add_mpi_test and hshm_add_host_test stand in CMakeLists.txt.

foreach(test IN ITEMS manager_pattern node_heap_set_up cross_rank_free set_up_failures
        sub_communicators detach_order after_finalize heap_memory)
  hshm_add_mpi_test(mpi_${test} SOURCES ${test}.cc RANKS 2 4 8)
endforeach()

# Jobs one after the other on one file; the script counts the ranks of each.
function(hshm_add_file_heap_jobs_test name)
  hshm_parse_mpi_test(${name} RANKS ${ARGN})
  foreach(ranks IN LISTS arg_RANKS)
    hshm_add_mpi_run(${name}_np${ranks} "${CMAKE_CURRENT_SOURCE_DIR}/file_heap_jobs.sh"
      "${CMAKE_CURRENT_SOURCE_DIR}/run_ranks.sh" "${MPIEXEC_EXECUTABLE}" ${ranks} ${arg_TIMEOUT}
      "$<TARGET_FILE:${name}>")
  endforeach()
endfunction()
hshm_add_file_heap_jobs_test(mpi_file_heap_jobs SOURCES file_heap_jobs.cc RANKS 2 4 LABELS crash)

# The others must go on when a rank is killed; by default mpirun kills them too.
set(outlive "${CMAKE_CURRENT_SOURCE_DIR}/outlive.sh")
execute_process(COMMAND "${MPIEXEC_EXECUTABLE}" --version OUTPUT_VARIABLE hshm_mpiexec_version)
if(hshm_mpiexec_version MATCHES "Open MPI|OpenRTE")
  set(go_on --continuous)
  set(go_on_on_hosts "${outlive}")  # --continuous never ends when ranks are on several hosts
else()
  set(go_on -disable-auto-cleanup "${outlive}")
  set(go_on_on_hosts ${go_on})
endif()
foreach(victim IN ITEMS 0 -1)
  set(name rank_killed)
  if(victim EQUAL 0)
    set(name leader_killed)
  endif()
  set(verdict "rank_killed: all [1-7] survivors of rank [0-7] ok")
  hshm_add_mpi_test(mpi_${name} SOURCES rank_killed.cc RANKS 2 4 8 LABELS crash
    MPIRUN_ARGS ${go_on} ARGS ${victim} PASS_REGEX "${verdict}")
  set(far "rank_killed: all [1-7] far from rank [0-7] ok")
  hshm_add_host_test(mpi_host_${name} SOURCES rank_killed.cc LAYOUTS "2 3" "3 2" LABELS crash
    MPIRUN_ARGS ${go_on_on_hosts} ARGS ${victim} PASS_REGEX "${far}.*${verdict}|${verdict}.*${far}")
endforeach()

# Several hosts, each with a /dev/shm of its own.
hshm_add_host_test(mpi_host_set_up SOURCES hosts/host_set_up.cc
  LAYOUTS "2 2" "3 1" "2 2 2" ARGS LAYOUT)
hshm_add_host_test(mpi_host_no_space SOURCES hosts/host_no_space.cc
  LAYOUTS "2 2:64m" "1 2 1:64m")

# Killed jobs leave segments, or none; the script starts and kills them.
if(TARGET hshm_tool)
  find_package(Python3 COMPONENTS Interpreter REQUIRED)
  hshm_parse_mpi_test(mpi_killed_job RANKS SOURCES killed_job.cc RANKS 2 TIMEOUT 600)
  add_dependencies(mpi_killed_job hshm_tool)
  hshm_add_mpi_run(mpi_killed_jobs Python3::Interpreter
    "${CMAKE_CURRENT_SOURCE_DIR}/killed_jobs.py" "${CMAKE_CURRENT_SOURCE_DIR}/run_ranks.sh"
    "${MPIEXEC_EXECUTABLE}" 2 ${arg_TIMEOUT} "$<TARGET_FILE:mpi_killed_job>"
    "$<TARGET_FILE:hshm_tool>")
endif()

# Ranks whose malloc, and their MPI's, is the library; the heap of the node is another one.
if(TARGET hshm_malloc)
  include("${PROJECT_SOURCE_DIR}/unit_tests/malloc/variants.cmake")
  set(arg_TIMEOUT 120)
  foreach(variant IN LISTS hshm_malloc_variants)
    hshm_add_mpi_run(mpi_cross_rank_free_on_malloc_${variant}
      "${CMAKE_CURRENT_SOURCE_DIR}/run_ranks.sh" "${MPIEXEC_EXECUTABLE}" 4 ${arg_TIMEOUT}
      env ${hshm_malloc_environment_${variant}} "$<TARGET_FILE:mpi_cross_rank_free>")
  endforeach()
  add_dependencies(hshm_mpi_tests hshm_malloc)
endif()
