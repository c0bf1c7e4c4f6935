# The CUDA plug-in, libonnxtool_cuda.so beside the tool: built where the toolkit is found. It takes what it needs of
# onnxtool from the program that opens it, so both have one table of names.
include(CheckLanguage)
check_language(CUDA)
if(CMAKE_CUDA_COMPILER)
  set(cuda_found ON)
else()
  set(cuda_found OFF)
endif()
option(ONNXTOOL_CUDA "Build the CUDA plug-in" ${cuda_found})

onnxtool_registry(cuda HEADER exec/plan/kernel.h GLOBS exec/cuda/*.cu)
add_library(onnxtool_cuda_registry OBJECT EXCLUDE_FROM_ALL ${cuda_registry})
target_include_directories(onnxtool_cuda_registry PRIVATE ${PROJECT_SOURCE_DIR})
target_link_libraries(onnxtool_cuda_registry PRIVATE fmt::fmt)
file(GLOB cuda_sources CONFIGURE_DEPENDS exec/cuda/*.cc exec/cuda/*.cu)

if(ONNXTOOL_CUDA)
  # Every architecture from 8.0 on, and code for those to come.
  set(ONNXTOOL_CUDA_ARCHITECTURES "80-real;86-real;89-real;90-real;100" CACHE STRING "CUDA architectures of the plug-in")
  set(CMAKE_CUDA_ARCHITECTURES ${ONNXTOOL_CUDA_ARCHITECTURES})
  enable_language(CUDA)
  set(CMAKE_CUDA20_STANDARD_COMPILE_OPTION "-std=c++20")  # CMake 3.25 does not know it of CUDA 13
  find_package(CUDAToolkit REQUIRED)
  add_library(onnxtool_cuda MODULE ${cuda_sources} $<TARGET_OBJECTS:onnxtool_cuda_registry>)
  set_target_properties(onnxtool_cuda PROPERTIES CUDA_VISIBILITY_PRESET default LINKER_LANGUAGE CXX)
  target_include_directories(onnxtool_cuda PRIVATE ${PROJECT_SOURCE_DIR})
  target_compile_definitions(onnxtool_cuda PRIVATE ONNXTOOL_VERSION="${PROJECT_VERSION}")
  # The options of all targets are those of the C++ compiler. nvcc does not take fmt's checks at compile time, and sees
  # results ignored where they are assigned.
  get_target_property(cxx_options onnxtool_cuda COMPILE_OPTIONS)
  set_target_properties(onnxtool_cuda PROPERTIES COMPILE_OPTIONS "")
  target_compile_options(onnxtool_cuda PRIVATE "$<$<COMPILE_LANGUAGE:CXX>:${cxx_options}>"
    "$<$<COMPILE_LANGUAGE:CUDA>:-DFMT_USE_CONSTEXPR=1;-DFMT_CONSTEVAL=;-diag-suppress=2810;-lineinfo>")
  target_link_libraries(onnxtool_cuda PRIVATE fmt::fmt CUDA::cudart_static CUDA::cublasLt)
  install(TARGETS onnxtool_cuda DESTINATION ${CMAKE_INSTALL_LIBDIR}/onnxtool)
endif()
