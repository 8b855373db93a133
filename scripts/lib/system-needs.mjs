import { accessSync, constants, existsSync } from 'node:fs';
import { join } from 'node:path';

/**
 * What has to be on the machine, and which package brings it. `present` only looks at files, so
 * that a second run costs nothing. `apt` names alternatives, best first.
 *
 * @typedef {{ what: string, apt: string[], present: () => boolean }} Need
 */

const isMac = process.platform === 'darwin';
const prefixes = ['/usr/local', '/usr', '/opt/homebrew'];
const multiarch = {
  x64: 'x86_64-linux-gnu',
  arm64: 'aarch64-linux-gnu',
  arm: 'arm-linux-gnueabihf',
  ppc64: 'powerpc64le-linux-gnu',
  riscv64: 'riscv64-linux-gnu',
  s390x: 's390x-linux-gnu',
};
const libraryFolders = ['lib', 'lib64', join('lib', multiarch[process.arch] ?? '.')];

const need = (what, apt, present) => ({ what, apt, present });
const command = (name, apt = name) => need(name, [apt], () => hasCommand(name));

/** @type {readonly Need[]} to build the addon and to serve */
export const buildNeeds = [
  need('a C compiler', ['gcc'], () => ['cc', 'gcc', 'clang'].some(hasCommand)),
  need('a C++ compiler', ['g++'], () => ['c++', 'g++', 'clang++'].some(hasCommand)),
  need('the C library headers', ['libc6-dev'], () => isMac || hasHeader('stdlib.h')),
  command('cmake'),
  command('ninja', 'ninja-build'),
  command('pkg-config'),
  need('llhttp 9.2 or newer', ['libllhttp-dev'], hasLlhttp),
  need(
    'OpenSSL 3',
    ['libssl-dev'],
    () => hasHeader('openssl/ssl.h') && hasLibrary('pkgconfig/libssl.pc'),
  ),
  need('zlib', ['zlib1g-dev'], () => isMac || (hasHeader('zlib.h') && hasLibrary('libz.a'))),
  need(
    'LuaJIT 2.1',
    ['libluajit2-5.1-dev', 'libluajit-5.1-dev'],
    () => hasHeader('luajit-2.1/lua.h') && hasLibrary('pkgconfig/luajit.pc'),
  ),
  need('jemalloc', ['libjemalloc2'], () =>
    hasLibrary(isMac ? 'libjemalloc.2.dylib' : 'libjemalloc.so.2'),
  ),
  need('lua-cjson', ['lua-cjson'], () => isMac || hasLibrary('lua/5.1/cjson.so')),
];

/** @type {readonly Need[]} what the tests use on top */
export const testNeeds = [
  need('cmocka', ['libcmocka-dev'], () => hasLibrary('pkgconfig/cmocka.pc')),
  command('make'),
  command('curl'),
  command('wrk'),
  command('clang-format'),
  need('h11 of Python', ['python3-h11'], () => hasLibrary('python3/dist-packages/h11')),
];

/** True if an executable of that name is on the PATH. */
export function hasCommand(name) {
  return (process.env.PATH ?? '').split(':').some((directory) => {
    try {
      accessSync(join(directory, name), constants.X_OK);
      return directory !== '';
    } catch {
      return false;
    }
  });
}

function hasHeader(path) {
  return prefixes.some((prefix) => existsSync(join(prefix, 'include', path)));
}

function hasLibrary(path) {
  return prefixes.some((prefix) =>
    libraryFolders.some((folder) => existsSync(join(prefix, folder, path))),
  );
}

function hasLlhttp() {
  const sources = process.env.LLHTTP_SOURCE_DIR || '/usr/src/llhttp';
  if (existsSync(`${sources}/src/llhttp.c`)) return true;
  return hasHeader('llhttp.h') && hasLibrary(isMac ? 'libllhttp.dylib' : 'libllhttp.a');
}
