# Target moonring_compression: libdeflate and brotli's encoder inside our own binary, as zlib is and for
# the same reason: node exports the symbols of the brotli in it (see cmake/llhttp.cmake).
find_path(LIBDEFLATE_INCLUDE_DIR libdeflate.h)
find_path(BROTLI_INCLUDE_DIR brotli/encode.h)
set(moonring_compression_libraries "")
foreach(name deflate brotlienc brotlicommon)
  find_library(${name}_ARCHIVE NAMES lib${name}.a lib${name}-static.a)
  set(library "${${name}_ARCHIVE}")
  if(NOT library AND APPLE)
    # Two-level namespaces bind to the library named at link time, so nothing can come between.
    find_library(${name}_SHARED NAMES ${name})
    set(library "${${name}_SHARED}")
  endif()
  if(NOT library)
    message(
      FATAL_ERROR
        "lib${name}.a is missing: install libdeflate-dev and libbrotli-dev (Debian), which npm start does."
    )
  endif()
  list(APPEND moonring_compression_libraries "${library}")
endforeach()
if(NOT LIBDEFLATE_INCLUDE_DIR OR NOT BROTLI_INCLUDE_DIR)
  message(
    FATAL_ERROR
      "libdeflate.h or brotli/encode.h is missing: install libdeflate-dev and libbrotli-dev (Debian), which npm start does."
  )
endif()
add_library(moonring_compression INTERFACE)
target_include_directories(
  moonring_compression SYSTEM INTERFACE "${LIBDEFLATE_INCLUDE_DIR}" "${BROTLI_INCLUDE_DIR}"
)
target_link_libraries(moonring_compression INTERFACE ${moonring_compression_libraries} m)
