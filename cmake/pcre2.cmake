# Target moonring_pcre2: PCRE2 inside our own binary, so that it does not depend on what else
# a host process has loaded (see cmake/llhttp.cmake).
find_path(PCRE2_INCLUDE_DIR pcre2.h)
find_library(PCRE2_ARCHIVE NAMES libpcre2-8.a)
set(moonring_pcre2_library "${PCRE2_ARCHIVE}")
if(NOT PCRE2_ARCHIVE AND APPLE)
  # Two-level namespaces bind to the library named at link time, so nothing can come between.
  find_library(PCRE2_SHARED NAMES pcre2-8)
  set(moonring_pcre2_library "${PCRE2_SHARED}")
endif()
if(NOT PCRE2_INCLUDE_DIR OR NOT moonring_pcre2_library)
  message(FATAL_ERROR "pcre2.h and libpcre2-8.a are missing: install libpcre2-dev (Debian), which npm start does.")
endif()
add_library(moonring_pcre2 UNKNOWN IMPORTED)
set_target_properties(
  moonring_pcre2
  PROPERTIES IMPORTED_LOCATION "${moonring_pcre2_library}" INTERFACE_INCLUDE_DIRECTORIES "${PCRE2_INCLUDE_DIR}"
)
