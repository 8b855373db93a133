# LuaJIT 2.1. The system's is always linked as a shared library: thread-local storage of an archive not
# built for it cannot go into a .node file. The platform packages build their own (scripts/packages).
find_package(PkgConfig REQUIRED)
pkg_check_modules(LUAJIT REQUIRED IMPORTED_TARGET luajit)

# lua-cjson inside our own binary, if there is an archive of it; otherwise Lua finds the system's.
find_library(CJSON_ARCHIVE NAMES libcjson-lua.a)
add_library(moonring_cjson INTERFACE)
if(CJSON_ARCHIVE)
  target_link_libraries(moonring_cjson INTERFACE "${CJSON_ARCHIVE}")
  target_compile_definitions(moonring_cjson INTERFACE MOONRING_HAS_CJSON)
endif()
