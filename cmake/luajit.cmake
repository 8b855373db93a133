# LuaJIT 2.1, always the shared library: the archive's thread-local storage cannot go into a .node
# file.
find_package(PkgConfig REQUIRED)
pkg_check_modules(LUAJIT REQUIRED IMPORTED_TARGET luajit)
