# How hshm's own code is compiled: hshm_compile_options(<target>) for the library and every test.

if(HSHM_SANITIZE STREQUAL "address")
  set(hshm_sanitize_flags -fsanitize=address,undefined -fno-sanitize-recover=all)
elseif(HSHM_SANITIZE STREQUAL "thread")
  set(hshm_sanitize_flags -fsanitize=thread)
endif()

# Own code has no warnings; HSHM_WERROR makes that a rule. The headers of others come in as SYSTEM.
function(hshm_compile_options target)
  set_target_properties(${target} PROPERTIES
    CXX_EXTENSIONS OFF
    CXX_VISIBILITY_PRESET hidden
    VISIBILITY_INLINES_HIDDEN ON)
  target_compile_features(${target} PUBLIC cxx_std_20)
  target_compile_options(${target} PRIVATE -Wall -Wextra -Wpedantic $<$<BOOL:${HSHM_WERROR}>:-Werror>)
  if(HSHM_SANITIZE)
    target_compile_options(${target} PRIVATE ${hshm_sanitize_flags} -fno-omit-frame-pointer)
    target_link_options(${target} PRIVATE ${hshm_sanitize_flags})
  endif()
  if(HSHM_COVERAGE)
    # gcov tells copies of inlined functions not from one another.
    target_compile_options(${target} PRIVATE --coverage -fprofile-update=atomic -DHSHM_INLINE=inline)
    target_link_options(${target} PUBLIC --coverage)
  endif()
  if(HSHM_SANITIZE STREQUAL "thread" AND CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
    target_compile_options(${target} PRIVATE -Wno-error=tsan)  # g++ warns about every fence
  endif()
endfunction()
