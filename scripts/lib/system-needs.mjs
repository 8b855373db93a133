import { spawnSync } from 'node:child_process';
import { accessSync, constants, existsSync } from 'node:fs';
import { join } from 'node:path';

/**
 * What must be installed on the machine, and which package provides it. `present` only checks
 * files, so that a second run is fast. `apt` lists alternatives, best first.
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
    'PCRE2',
    ['libpcre2-dev'],
    () => hasHeader('pcre2.h') && (isMac || hasLibrary('libpcre2-8.a')),
  ),
  need(
    'libdeflate',
    ['libdeflate-dev'],
    () => hasHeader('libdeflate.h') && (isMac || hasLibrary('libdeflate.a')),
  ),
  need(
    'brotli',
    ['libbrotli-dev'],
    () => hasHeader('brotli/encode.h') && (isMac || hasLibrary('libbrotlienc.a')),
  ),
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

/** @type {readonly Need[]} to build the platform packages; libraries come as sources */
export const packageNeeds = [
  command('cmake'),
  command('ninja', 'ninja-build'),
  command('make'),
  command('perl'),
  command('pkg-config'),
  command('cargo'),
  need('pip of Python', ['python3-pip'], () => hasCommand('pip') || hasCommand('pip3')),
];

/** A file of each package whose name differs from the package's. */
const NGINX_FILES = { dns: 'dns/resolver', websocket: 'websocket/client' };

/** @type {readonly Need[]} what the tests need in addition */
export const testNeeds = [
  need('cmocka', ['libcmocka-dev'], () => hasLibrary('pkgconfig/cmocka.pc')),
  command('make'),
  command('curl'),
  command('wrk'),
  command('clang-format'),
  need('PostgreSQL', ['postgresql'], hasPostgres),
  command('pgbouncer'),
  command('redis-server'),
  command('memcached'),
  ...['redis', 'memcached', 'dns', 'websocket', 'string'].map((name) =>
    need(`nginx.${name}`, [`lua-nginx-${name}`], () =>
      hasLuaModule(`nginx/${NGINX_FILES[name] ?? name}`),
    ),
  ),
  need('resty.lrucache', ['lua-resty-lrucache'], () => hasLuaModule('resty/lrucache')),
  need('environments of Python', ['python3-venv'], hasEnvironments),
  need('h11 of Python', ['python3-h11'], () => hasLibrary('python3/dist-packages/h11')),
  need('websockets of Python', ['python3-websockets'], () =>
    hasLibrary('python3/dist-packages/websockets'),
  ),
];

/** OpenResty's libraries in Debian, written in Lua: they run on any machine. */
function hasLuaModule(name) {
  return prefixes.some((prefix) => existsSync(join(prefix, 'share/lua/5.1', `${name}.lua`)));
}

/** Debian has split what `python3 -m venv` needs from Python. */
function hasEnvironments() {
  return isMac || spawnSync('python3', ['-c', 'import ensurepip']).status === 0;
}

/** Debian has a directory for each version of the programs. */
function hasPostgres() {
  return existsSync('/usr/lib/postgresql') || hasCommand('initdb');
}

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
