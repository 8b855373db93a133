# cmake -DOUT=<file.c> -DROOT=<directory of the package> -P embed-lua.cmake: the Lua runtime as C
# arrays (exec/hs_lua_embedded.h).
file(GLOB modules RELATIVE "${ROOT}" "${ROOT}/*.lua")
list(SORT modules)

set(arrays "")
set(rows "")
foreach(module IN LISTS modules)
  string(REGEX REPLACE "\\.lua$" "" name "${module}")
  file(READ "${ROOT}/${module}" hex HEX)
  string(REGEX REPLACE "([0-9a-f][0-9a-f])" "0x\\1," bytes "${hex}")
  string(APPEND arrays "static const unsigned char ${name}_text[] = { ${bytes} };\n")
  string(
    APPEND rows
    "    { \"moonring.${name}\", (const char *)${name}_text, sizeof(${name}_text) },\n"
  )
endforeach()

file(
  WRITE "${OUT}"
  "#include \"exec/hs_lua_embedded.h\"\n\n${arrays}\n"
  "const hs_lua_embedded_t hs_lua_embedded_modules[] = {\n${rows}    { NULL, NULL, 0 },\n};\n"
)
