# Target moonring_llhttp: llhttp >= 9.2, inside our own binary.
#
# Never the shared library on ELF: node exports every llhttp_* symbol, these take precedence over any
# shared library, and node's llhttp_settings_t has another layout, so calls reach the wrong parser and
# corrupt memory silently. A static archive is safe only with --exclude-libs and a version
# script on the addon (native/CMakeLists.txt), and the addon checks at load time that llhttp_execute
# is its own.

set(LLHTTP_SOURCE_DIR "$ENV{LLHTTP_SOURCE_DIR}" CACHE PATH "llhttp's generated C sources (holds src/ and include/)")

if(NOT LLHTTP_SOURCE_DIR AND EXISTS "/usr/src/llhttp/src/llhttp.c")
  set(LLHTTP_SOURCE_DIR "/usr/src/llhttp")
endif()

if(LLHTTP_SOURCE_DIR)
  set(moonring_llhttp_header "${LLHTTP_SOURCE_DIR}/include/llhttp.h")
  add_library(
    moonring_llhttp STATIC
    "${LLHTTP_SOURCE_DIR}/src/api.c"
    "${LLHTTP_SOURCE_DIR}/src/http.c"
    "${LLHTTP_SOURCE_DIR}/src/llhttp.c"
  )
  target_include_directories(moonring_llhttp SYSTEM PUBLIC "${LLHTTP_SOURCE_DIR}/include")
  if(moonring_lto_works)
    # It calls back for every name and value: half of its cost are these calls.
    set_target_properties(moonring_llhttp PROPERTIES INTERPROCEDURAL_OPTIMIZATION ON)
  endif()
  set(moonring_llhttp_origin "sources in ${LLHTTP_SOURCE_DIR}")
else()
  find_path(LLHTTP_INCLUDE_DIR llhttp.h)
  find_library(LLHTTP_ARCHIVE NAMES libllhttp.a)
  set(moonring_llhttp_library "${LLHTTP_ARCHIVE}")
  if(NOT LLHTTP_ARCHIVE AND APPLE)
    # Two-level namespaces bind to the library named at link time, so nothing can come between.
    find_library(LLHTTP_SHARED NAMES llhttp)
    set(moonring_llhttp_library "${LLHTTP_SHARED}")
  endif()
  if(NOT LLHTTP_INCLUDE_DIR OR NOT moonring_llhttp_library)
    message(
      FATAL_ERROR
        "llhttp.h and libllhttp.a are missing: install libllhttp-dev (Debian 13; Debian 12: run npm start, which "
        "installs it from the next release), or set LLHTTP_SOURCE_DIR to llhttp's generated C sources."
    )
  endif()
  set(moonring_llhttp_header "${LLHTTP_INCLUDE_DIR}/llhttp.h")
  add_library(moonring_llhttp UNKNOWN IMPORTED)
  set_target_properties(
    moonring_llhttp
    PROPERTIES IMPORTED_LOCATION "${moonring_llhttp_library}"
               INTERFACE_INCLUDE_DIRECTORIES "${LLHTTP_INCLUDE_DIR}"
  )
  set(moonring_llhttp_origin "${moonring_llhttp_library}")
endif()

# The packages have no usable version file: the header's macros contain the llhttp version.
file(STRINGS "${moonring_llhttp_header}" moonring_llhttp_defines REGEX "define LLHTTP_VERSION_(MAJOR|MINOR|PATCH) ")
string(REGEX REPLACE "[^0-9;]" "" moonring_llhttp_version "${moonring_llhttp_defines}")
list(JOIN moonring_llhttp_version "." moonring_llhttp_version)
if(moonring_llhttp_version VERSION_LESS "9.2")
  message(FATAL_ERROR "llhttp ${moonring_llhttp_version} is too old: 9.2 or newer is needed (${moonring_llhttp_header})")
endif()
message(STATUS "llhttp ${moonring_llhttp_version}: ${moonring_llhttp_origin}")
