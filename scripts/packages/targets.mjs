/*
 * The targets of platform packages. `triple` is zig's name, with the oldest C library that the
 * addon supports; `multilib` is the directory of the system's Lua modules in C below /usr.
 *
 * @typedef {{ triple: string, os: string, cpu: string, libc?: 'glibc' | 'musl', multilib: string,
 *   prefix?: string, note?: string }} Target
 */

/** @type {Readonly<Record<string, Target>>} by the suffix of the package name */
export const targets = {
  'linux-x64-gnu': {
    triple: 'x86_64-linux-gnu.2.28',
    os: 'linux',
    cpu: 'x64',
    libc: 'glibc',
    multilib: 'lib/x86_64-linux-gnu',
  },
  'linux-arm64-gnu': {
    triple: 'aarch64-linux-gnu.2.28',
    os: 'linux',
    cpu: 'arm64',
    libc: 'glibc',
    multilib: 'lib/aarch64-linux-gnu',
  },
  'linux-x64-musl': {
    triple: 'x86_64-linux-musl',
    os: 'linux',
    cpu: 'x64',
    libc: 'musl',
    multilib: 'lib',
  },
  'linux-arm64-musl': {
    triple: 'aarch64-linux-musl',
    os: 'linux',
    cpu: 'arm64',
    libc: 'musl',
    multilib: 'lib',
  },
  'darwin-arm64': {
    triple: 'aarch64-macos',
    os: 'darwin',
    cpu: 'arm64',
    multilib: 'lib',
    prefix: '/opt/homebrew',
    note: 'It is built and linked, and has never been run.',
  },
};
