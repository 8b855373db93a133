# Compile options of all our targets: moonring_compile_options(<target>). Not for third-party
# code.

set(CMAKE_C_STANDARD 11)
set(CMAKE_C_STANDARD_REQUIRED ON)
set(CMAKE_C_EXTENSIONS OFF)
set(CMAKE_CXX_STANDARD 17)
set(CMAKE_CXX_STANDARD_REQUIRED ON)
set(CMAKE_CXX_EXTENSIONS OFF)

# Everything ends up inside a .node file, next to a process that exports tens of thousands of
# symbols: ours stay hidden.
set(CMAKE_POSITION_INDEPENDENT_CODE ON)
set(CMAKE_C_VISIBILITY_PRESET hidden)
set(CMAKE_CXX_VISIBILITY_PRESET hidden)
set(CMAKE_VISIBILITY_INLINES_HIDDEN ON)

set(THREADS_PREFER_PTHREAD_FLAG ON)
find_package(Threads REQUIRED)

if(MOONRING_SANITIZE)
  # Linked code without our warnings (llhttp from source) is instrumented too.
  add_compile_options(-fsanitize=${MOONRING_SANITIZE} -fno-omit-frame-pointer)
  add_link_options(-fsanitize=${MOONRING_SANITIZE})
  if(MOONRING_SANITIZE MATCHES "undefined")
    add_compile_options(-fno-sanitize-recover=undefined)
  endif()
endif()

if(MOONRING_LTO)
  include(CheckIPOSupported)
  check_ipo_supported(RESULT moonring_lto_works LANGUAGES C CXX)
endif()

function(moonring_compile_options target)
  target_compile_options(
    ${target}
    PRIVATE
      -Wall
      -Wextra
      -Wpedantic
      -Wconversion
      -Wshadow
      -Wundef
      -Wvla
      -Wformat=2
      -Wimplicit-fallthrough
      -Wnull-dereference
      $<$<COMPILE_LANGUAGE:C>:-Wstrict-prototypes>
      $<$<COMPILE_LANGUAGE:C>:-Wmissing-prototypes>
      $<$<COMPILE_LANGUAGE:C>:-Wswitch-enum>
  )
  if(CMAKE_C_COMPILER_ID STREQUAL "GNU")
    # Exported functions are inlined like others: they are not meant to be interposed.
    target_compile_options(${target} PRIVATE -fno-semantic-interposition)
  endif()
  if(MOONRING_WERROR)
    target_compile_options(${target} PRIVATE -Werror)
  endif()

  # System interfaces beyond C11: POSIX, and the extensions of Linux and macOS.
  if(CMAKE_SYSTEM_NAME STREQUAL "Linux")
    target_compile_definitions(${target} PRIVATE $<$<COMPILE_LANGUAGE:C>:_GNU_SOURCE>)
  elseif(APPLE)
    target_compile_definitions(${target} PRIVATE $<$<COMPILE_LANGUAGE:C>:_DARWIN_C_SOURCE>)
  endif()

  # HS_ASSERT is on in debug and sanitizer builds.
  target_compile_definitions(${target} PRIVATE $<$<CONFIG:Debug>:HS_DEBUG>)

  if(moonring_lto_works)
    set_target_properties(${target} PROPERTIES INTERPROCEDURAL_OPTIMIZATION ON)
  endif()
endfunction()

# Calls within a shared object stay within it, whatever the process exports under the same names.
include(CheckLinkerFlag)
function(moonring_link_inside target)
  set(archives libllhttp.a:libz.a:libpcre2-8.a:libdeflate.a:libbrotlienc.a:libbrotlicommon.a)
  check_linker_flag(C "-Wl,--exclude-libs,${archives},-Bsymbolic-functions" moonring_links_gnu)
  if(moonring_links_gnu)
    target_link_options(${target} PRIVATE "-Wl,--exclude-libs,${archives},-Bsymbolic-functions")
  else()
    # zig's compiler supports neither; the version script hides the archives as well.
    target_link_options(${target} PRIVATE -Wl,-Bsymbolic)
  endif()
endfunction()
