/*
 * The runtime's Lua modules, embedded at build time, so that the library needs no other file.
 * hs_lua_embedded.c is written by cmake/embed-lua.cmake from lua/moonring.
 */
#pragma once

#include <stddef.h>

typedef struct hs_lua_embedded {
    const char *name; /* "moonring.runtime"; NULL ends the list */
    const char *text;
    size_t len;
} hs_lua_embedded_t;

extern const hs_lua_embedded_t hs_lua_embedded_modules[];
