# The core as a library for C programs: libhttpserver.a, which is the core itself, and
# libhttpserver.so, with a pkg-config file and `cmake --install`.
include(GNUInstallDirs)

set_target_properties(moonring_core PROPERTIES OUTPUT_NAME httpserver)
if(CMAKE_C_COMPILER_ID STREQUAL "GNU")
  # The archive is linked by programs that do not use our link-time optimisation.
  target_compile_options(moonring_core PRIVATE -ffat-lto-objects)
endif()

add_library(httpserver SHARED $<TARGET_OBJECTS:moonring_core>)
set_target_properties(
  httpserver PROPERTIES VERSION ${PROJECT_VERSION} SOVERSION ${PROJECT_VERSION_MAJOR} LINKER_LANGUAGE C
)
target_link_libraries(
  httpserver PRIVATE moonring_llhttp moonring_zlib moonring_pcre2 moonring_compression PkgConfig::LUAJIT PkgConfig::OPENSSL Threads::Threads ${CMAKE_DL_LIBS} m
)
if(NOT APPLE)
  target_link_options(
    httpserver PRIVATE "-Wl,--version-script=${PROJECT_SOURCE_DIR}/cmake/httpserver.map"
    -Wl,-z,now # as for the addon
  )
  moonring_link_inside(httpserver)
  set_property(
    TARGET httpserver APPEND PROPERTY LINK_DEPENDS "${PROJECT_SOURCE_DIR}/cmake/httpserver.map"
  )
endif()

# Relative, so that an installation can be moved.
file(
  RELATIVE_PATH httpserver_pc_to_include "/${CMAKE_INSTALL_LIBDIR}/pkgconfig"
  "/${CMAKE_INSTALL_INCLUDEDIR}"
)
configure_file(
  "${PROJECT_SOURCE_DIR}/cmake/httpserver.pc.in" "${CMAKE_CURRENT_BINARY_DIR}/httpserver.pc" @ONLY
)
install(TARGETS moonring_core httpserver ARCHIVE LIBRARY)
install(FILES "${PROJECT_SOURCE_DIR}/native/include/httpserver.h" TYPE INCLUDE)
install(
  FILES "${CMAKE_CURRENT_BINARY_DIR}/httpserver.pc" DESTINATION "${CMAKE_INSTALL_LIBDIR}/pkgconfig"
)
