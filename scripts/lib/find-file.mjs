import { accessSync, constants, existsSync } from 'node:fs';
import { join } from 'node:path';

const multiarch = {
  x64: 'x86_64-linux-gnu',
  arm64: 'aarch64-linux-gnu',
  arm: 'arm-linux-gnueabihf',
  ppc64: 'powerpc64le-linux-gnu',
  riscv64: 'riscv64-linux-gnu',
  s390x: 's390x-linux-gnu',
};

const prefixes = ['/usr/local', '/usr', '/opt/homebrew'];

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

/** True if `path` (say, 'llhttp.h') lies in a directory that compilers search for headers. */
export function hasHeader(path) {
  return prefixes.some((prefix) => existsSync(join(prefix, 'include', path)));
}

/**
 * True if `path` (say, 'libllhttp.a' or 'lua/5.1/cjson.so') lies in a library directory of this
 * architecture.
 */
export function hasLibrary(path) {
  const directories = ['lib', 'lib64', join('lib', multiarch[process.arch] ?? '.')];
  return prefixes.some((prefix) =>
    directories.some((directory) => existsSync(join(prefix, directory, path))),
  );
}
