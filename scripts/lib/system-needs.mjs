import { existsSync } from 'node:fs';

import { hasCommand, hasHeader, hasLibrary } from './find-file.mjs';

/**
 * What has to be on the machine, and which package brings it. `present` only looks at files, so
 * that a second run costs nothing. A list under `apt` names alternatives, best first. Homebrew's
 * names are best effort: nobody of us has run them.
 *
 * @typedef {{ what: string, present: () => boolean, apt: string[], brew: string | null }} Need
 */

/** @type {readonly Need[]} to build the addon and to serve */
export const buildNeeds = [
  {
    what: 'a C compiler',
    present: () => hasCommand('cc') || hasCommand('gcc') || hasCommand('clang'),
    apt: ['gcc'],
    brew: null,
  },
  {
    what: 'a C++ compiler',
    present: () => hasCommand('c++') || hasCommand('g++') || hasCommand('clang++'),
    apt: ['g++'],
    brew: null,
  },
  {
    what: 'the C library headers',
    present: () => process.platform === 'darwin' || hasHeader('stdlib.h'),
    apt: ['libc6-dev'],
    brew: null,
  },
  { what: 'CMake', present: () => hasCommand('cmake'), apt: ['cmake'], brew: 'cmake' },
  { what: 'Ninja', present: () => hasCommand('ninja'), apt: ['ninja-build'], brew: 'ninja' },
  {
    what: 'pkg-config',
    present: () => hasCommand('pkg-config'),
    apt: ['pkg-config'],
    brew: 'pkg-config',
  },
  {
    what: 'llhttp 9.2 or newer',
    present: hasLlhttp,
    apt: ['libllhttp-dev'],
    brew: 'llhttp',
  },
  {
    what: 'LuaJIT 2.1',
    present: () => hasHeader('luajit-2.1/lua.h') && hasLibrary('pkgconfig/luajit.pc'),
    apt: ['libluajit2-5.1-dev', 'libluajit-5.1-dev'],
    brew: 'luajit',
  },
  {
    what: 'jemalloc',
    present: () => hasLibrary('libjemalloc.so.2') || hasLibrary('libjemalloc.2.dylib'),
    apt: ['libjemalloc2'],
    brew: 'jemalloc',
  },
  {
    what: 'lua-cjson',
    present: () => process.platform === 'darwin' || hasLibrary('lua/5.1/cjson.so'),
    apt: ['lua-cjson'],
    brew: null,
  },
];

/** @type {readonly Need[]} what the tests use on top */
export const testNeeds = [
  {
    what: 'cmocka',
    present: () => hasHeader('cmocka.h') && hasLibrary('pkgconfig/cmocka.pc'),
    apt: ['libcmocka-dev'],
    brew: 'cmocka',
  },
  { what: 'make', present: () => hasCommand('make'), apt: ['make'], brew: 'make' },
  { what: 'curl', present: () => hasCommand('curl'), apt: ['curl'], brew: 'curl' },
  { what: 'wrk', present: () => hasCommand('wrk'), apt: ['wrk'], brew: 'wrk' },
  {
    what: 'clang-format',
    present: () => hasCommand('clang-format'),
    apt: ['clang-format'],
    brew: 'clang-format',
  },
];

function hasLlhttp() {
  const sources = process.env.LLHTTP_SOURCE_DIR || '/usr/src/llhttp';
  if (existsSync(`${sources}/src/llhttp.c`)) return true;
  const library = process.platform === 'darwin' ? 'libllhttp.dylib' : 'libllhttp.a';
  return hasHeader('llhttp.h') && hasLibrary(library);
}
