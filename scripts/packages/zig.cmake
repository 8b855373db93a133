# Toolchain file of the platform packages. scripts/packages/build.mjs writes MOONRING_ZIG/bin: zig's
# compiler for one target under the names of the usual tools.
set(MOONRING_ZIG "$ENV{MOONRING_ZIG}" CACHE PATH "The target's directory in build/packages")
set(ENV{MOONRING_ZIG} "${MOONRING_ZIG}") # CMake's own trial projects read this file too

set(CMAKE_SYSTEM_NAME "$ENV{MOONRING_ZIG_SYSTEM}")
set(CMAKE_SYSTEM_PROCESSOR "$ENV{MOONRING_ZIG_PROCESSOR}")
set(CMAKE_C_COMPILER "${MOONRING_ZIG}/bin/cc")
set(CMAKE_CXX_COMPILER "${MOONRING_ZIG}/bin/c++")
set(CMAKE_AR "${MOONRING_ZIG}/bin/ar")
set(CMAKE_RANLIB "${MOONRING_ZIG}/bin/ranlib")
if(CMAKE_SYSTEM_NAME STREQUAL "Darwin")
  set(CMAKE_INSTALL_NAME_TOOL true)
  set(CMAKE_USER_MAKE_RULES_OVERRIDE "${CMAKE_CURRENT_LIST_DIR}/zig-darwin.cmake")
endif()

# Libraries and headers are the target's own; programs (node, pkg-config) are the machine's.
set(CMAKE_FIND_ROOT_PATH "${MOONRING_ZIG}/prefix")
set(CMAKE_FIND_ROOT_PATH_MODE_PROGRAM NEVER)
set(CMAKE_FIND_ROOT_PATH_MODE_LIBRARY ONLY)
set(CMAKE_FIND_ROOT_PATH_MODE_INCLUDE ONLY)
set(ENV{PKG_CONFIG_LIBDIR} "${MOONRING_ZIG}/prefix/lib/pkgconfig")
