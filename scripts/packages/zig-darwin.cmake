# zig's linker knows no bundles; node loads a dynamic library just as well.
foreach(language C CXX)
  set(CMAKE_SHARED_MODULE_CREATE_${language}_FLAGS "-dynamiclib")
endforeach()
