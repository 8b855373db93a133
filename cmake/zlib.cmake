# Target moonring_zlib: zlib inside our own binary. Never the shared library on ELF: node exports the
# symbols of its own zlib, of another version, and they would win (see cmake/llhttp.cmake).
find_path(ZLIB_INCLUDE_DIR zlib.h)
find_library(ZLIB_ARCHIVE NAMES libz.a)
set(moonring_zlib_library "${ZLIB_ARCHIVE}")
if(NOT ZLIB_ARCHIVE AND APPLE)
  # Two-level namespaces bind to the library named at link time, so nothing can come between.
  find_library(ZLIB_SHARED NAMES z)
  set(moonring_zlib_library "${ZLIB_SHARED}")
endif()
if(NOT ZLIB_INCLUDE_DIR OR NOT moonring_zlib_library)
  message(FATAL_ERROR "zlib.h and libz.a are missing: install zlib1g-dev (Debian), which npm start does.")
endif()
add_library(moonring_zlib UNKNOWN IMPORTED)
set_target_properties(
  moonring_zlib
  PROPERTIES IMPORTED_LOCATION "${moonring_zlib_library}" INTERFACE_INCLUDE_DIRECTORIES "${ZLIB_INCLUDE_DIR}"
)
