#!/bin/sh
# A C handler for the server: ./build.sh && node ../../dist/master.js ./libapp.so
# Another one: ./build.sh libasync.so async.c
cd "$(dirname "$0")" && cc -std=c11 -O2 -Wall -fPIC -shared -pthread $([ "$(uname)" = Darwin ] && echo -undefined dynamic_lookup) -I../../native/include -o "${1:-libapp.so}" "${2:-handler.c}"
