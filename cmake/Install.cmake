# `cmake --install`: tool, library, headers, CMake package, pkg-config file, and oneDNN where it is scripts/deps'.
include(CMakePackageConfigHelpers)
set(package_dir ${CMAKE_INSTALL_LIBDIR}/cmake/onnxtool)
set(bundle_dir ${CMAKE_INSTALL_LIBDIR}/onnxtool)

install(TARGETS onnxtool_lib onnxtool_hwy onnxtool_zip onnxtool_re2 onnxtool_images onnxtool_dnnl
        EXPORT onnxtool-targets)
if(TARGET onnxtool)
  set_target_properties(onnxtool PROPERTIES INSTALL_RPATH
    "$ORIGIN/../${bundle_dir};$ORIGIN/../${CMAKE_INSTALL_LIBDIR}")
  install(TARGETS onnxtool)
endif()
if(BUILD_SHARED_LIBS)
  set_target_properties(onnxtool_lib PROPERTIES INSTALL_RPATH "$ORIGIN/onnxtool")
endif()
foreach(folder libonnxtool passes exec)
  if(IS_DIRECTORY ${PROJECT_SOURCE_DIR}/${folder})
    install(DIRECTORY ${folder} DESTINATION ${CMAKE_INSTALL_INCLUDEDIR}/onnxtool FILES_MATCHING
      PATTERN "*.h" PATTERN "exec/cpu" EXCLUDE PATTERN "exec/cuda" EXCLUDE)
  endif()
endforeach()
foreach(section 1 7)
  file(GLOB man_pages CONFIGURE_DEPENDS man/*.${section})
  install(FILES ${man_pages} DESTINATION ${CMAKE_INSTALL_MANDIR}/man${section})
endforeach()

set(find_onednn "")
if(ONNXTOOL_BUNDLED_ONEDNN)
  install(DIRECTORY ${ONNXTOOL_BUNDLED_ONEDNN}/lib/ DESTINATION ${bundle_dir}
    FILES_MATCHING PATTERN "*.so*" PATTERN "cmake" EXCLUDE)
  install(DIRECTORY ${ONNXTOOL_BUNDLED_ONEDNN}/share/doc/ DESTINATION ${CMAKE_INSTALL_DATADIR}/doc/onnxtool)
  set(pc_onednn "-L\${libdir}/onnxtool -ldnnl -Wl,--disable-new-dtags,-rpath,\${libdir}/onnxtool")
else()
  set(find_onednn "find_dependency(dnnl 3)")
  set(pc_onednn -ldnnl)
endif()

install(EXPORT onnxtool-targets NAMESPACE onnxtool:: DESTINATION ${package_dir})
configure_package_config_file(cmake/onnxtool-config.cmake.in ${PROJECT_BINARY_DIR}/onnxtool-config.cmake
  INSTALL_DESTINATION ${package_dir})
write_basic_package_version_file(${PROJECT_BINARY_DIR}/onnxtool-config-version.cmake
  COMPATIBILITY SameMinorVersion)
install(FILES ${PROJECT_BINARY_DIR}/onnxtool-config.cmake ${PROJECT_BINARY_DIR}/onnxtool-config-version.cmake
  DESTINATION ${package_dir})
file(RELATIVE_PATH pc_prefix /${CMAKE_INSTALL_LIBDIR}/pkgconfig /)
configure_file(cmake/onnxtool.pc.in ${PROJECT_BINARY_DIR}/onnxtool.pc @ONLY)
install(FILES ${PROJECT_BINARY_DIR}/onnxtool.pc DESTINATION ${CMAKE_INSTALL_LIBDIR}/pkgconfig)
