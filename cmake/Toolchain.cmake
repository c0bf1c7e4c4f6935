# Compiler, linker, warnings, hardening, sanitizers: everything that is the same for all targets.
set(CMAKE_CXX_STANDARD 20)
set(CMAKE_CXX_STANDARD_REQUIRED ON)
set(CMAKE_CXX_EXTENSIONS OFF)
set(CMAKE_CXX_SCAN_FOR_MODULES OFF)
set(CMAKE_POSITION_INDEPENDENT_CODE ON)
set(CMAKE_CXX_VISIBILITY_PRESET default)
set(CMAKE_EXPORT_COMPILE_COMMANDS ON)
set(CMAKE_CXX_FLAGS_RELEASE "-O2")  # no -DNDEBUG: ONNXTOOL_CHECK is part of the program

if(NOT CMAKE_CXX_COMPILER_LAUNCHER)
  find_program(ONNXTOOL_CCACHE ccache)
  if(ONNXTOOL_CCACHE)
    set(CMAKE_CXX_COMPILER_LAUNCHER ${ONNXTOOL_CCACHE})
  endif()
endif()

find_program(ONNXTOOL_MOLD mold)
find_program(ONNXTOOL_LLD ld.lld)
if(ONNXTOOL_MOLD)
  add_link_options(-fuse-ld=mold)
elseif(ONNXTOOL_LLD)
  add_link_options(-fuse-ld=lld)
endif()
# libdnnl needs libraries that lie beside it: only DT_RPATH also serves what a loaded library needs.
add_link_options(-Wl,--gc-sections -Wl,--as-needed -Wl,--disable-new-dtags)

add_compile_options(-Wall -Wextra -Wno-missing-field-initializers -ffunction-sections -fdata-sections
  # The same bits on every machine: products and sums fuse only where a kernel says so.
  -ffp-contract=off -fno-math-errno)
if(ONNXTOOL_WERROR)
  add_compile_options(-Werror)
endif()

if(ONNXTOOL_SANITIZE)
  list(JOIN ONNXTOOL_SANITIZE "," sanitizers)
  add_compile_options(-fsanitize=${sanitizers} -fno-omit-frame-pointer -g1)
  add_link_options(-fsanitize=${sanitizers})
  if(CMAKE_CXX_COMPILER_ID STREQUAL GNU)
    add_compile_options(-Wno-maybe-uninitialized)  # false alarms in instrumented code
  endif()
  if("undefined" IN_LIST ONNXTOOL_SANITIZE)
    add_compile_options(-fno-sanitize-recover=undefined)
  endif()
elseif(ONNXTOOL_HARDEN)
  add_compile_options(-fstack-protector-strong -U_FORTIFY_SOURCE
                      $<$<NOT:$<CONFIG:Debug>>:-D_FORTIFY_SOURCE=2>)
  add_link_options(-Wl,-z,relro -Wl,-z,now -Wl,-z,noexecstack)
  if(CMAKE_SYSTEM_PROCESSOR MATCHES "x86_64|AMD64")
    add_compile_options(-fcf-protection)
  endif()
endif()
if(ONNXTOOL_HARDEN)
  add_compile_definitions(_GLIBCXX_ASSERTIONS)  # an index out of range stops, it never reads on
endif()
if(ONNXTOOL_FUZZ)
  add_compile_options(-fsanitize=fuzzer-no-link)
endif()
include(CheckPIESupported)
check_pie_supported()
