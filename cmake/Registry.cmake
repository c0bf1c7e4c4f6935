# onnxtool_registry(KIND HEADER file GLOBS pattern...): sets KIND_registry to a source that is written at build
# time by WriteRegistry.cmake and lists every table that the files matching the patterns define.
function(onnxtool_registry kind)
  cmake_parse_arguments(arg "" "HEADER" "GLOBS" ${ARGN})
  set(out ${PROJECT_BINARY_DIR}/generated/${kind}_registry.cc)
  file(GLOB inputs CONFIGURE_DEPENDS ${arg_HEADER} ${arg_GLOBS})
  # Changes when a file comes or goes, too.
  file(CONFIGURE OUTPUT ${out}.inputs CONTENT "${inputs}\n" @ONLY)
  add_custom_command(OUTPUT ${out}.stamp BYPRODUCTS ${out}
    COMMAND ${CMAKE_COMMAND} -DKIND=${kind} -DROOT=${PROJECT_SOURCE_DIR} -DHEADER=${arg_HEADER}
            "-DGLOBS=${arg_GLOBS}" -DOUT=${out} -P ${PROJECT_SOURCE_DIR}/cmake/WriteRegistry.cmake
    COMMAND ${CMAKE_COMMAND} -E touch ${out}.stamp
    DEPENDS ${inputs} ${out}.inputs ${PROJECT_SOURCE_DIR}/cmake/WriteRegistry.cmake
    COMMENT "Registry of ${kind} tables" VERBATIM)
  set(${kind}_registry ${out} ${out}.stamp PARENT_SCOPE)
endfunction()
