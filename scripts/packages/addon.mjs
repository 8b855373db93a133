/*
 * Cross-builds the addon for one target, in build/packages/<target>: installs its libraries into a
 * prefix, then builds this tree with CMake and zig.cmake.
 */
import { chmodSync, cpSync, mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

import { say } from '../lib/progress.mjs';
import { root } from '../lib/root.mjs';
import { must } from '../lib/run-command.mjs';
import { sources, workDirectory } from './sources.mjs';

/** No undefined-behaviour traps, which zig adds; no path of this machine in the result. */
const flags = ['-fno-sanitize=undefined', '-g0', `-ffile-prefix-map=${root}=.`];
/**
 * For code that runs for every request: 16 % fewer instructions. zig's linker for macOS lacks it.
 */
const acrossFiles = ({ os }) => (os === 'linux' ? ['-flto=full'] : []);

/**
 * @param {string} name
 * @param {import('./targets.mjs').Target} target
 * @returns {Promise<string>} the addon's path
 */
export async function buildAddonFor(name, target) {
  const work = join(workDirectory, name);
  rmSync(work, { recursive: true, force: true });
  const prefix = join(work, 'prefix');
  mkdirSync(join(prefix, 'lib', 'pkgconfig'), { recursive: true });
  mkdirSync(join(prefix, 'include'), { recursive: true });
  writeTools(join(work, 'bin'), target);
  const isMac = target.os === 'darwin';
  const env = {
    MOONRING_ZIG: work,
    MOONRING_ZIG_SYSTEM: isMac ? 'Darwin' : 'Linux',
    MOONRING_ZIG_PROCESSOR: target.triple.split('-')[0],
    ZIG_GLOBAL_CACHE_DIR: join(workDirectory, 'zig-cache'),
    ZIG_LOCAL_CACHE_DIR: join(workDirectory, 'zig-cache'),
  };
  say(`${name}: LuaJIT`);
  await buildLuajit(work, prefix, target, env);
  say(`${name}: libraries`);
  const common = [
    '-G',
    'Ninja',
    `-DCMAKE_TOOLCHAIN_FILE=${join(root, 'scripts', 'packages', 'zig.cmake')}`,
    '-DCMAKE_BUILD_TYPE=Release',
    ...['C', 'CXX'].map((language) => `-DCMAKE_${language}_FLAGS_RELEASE=-O2 -DNDEBUG`),
  ];
  const { zlib, pcre2, libdeflate, brotli, cjson, openssl } = sources;
  const paths = Object.entries({ zlib, pcre2, libdeflate, brotli, cjson, openssl });
  const libraries = join(work, 'libraries');
  await must(
    'cmake',
    [
      '-S',
      join(root, 'scripts', 'packages'),
      '-B',
      libraries,
      ...common,
      `-DCMAKE_C_FLAGS=${flags.join(' ')}`,
      `-DACROSS_FILES=${acrossFiles(target).join(' ')}`,
      `-DCMAKE_INSTALL_PREFIX=${prefix}`,
      ...paths.map(([key, path]) => `-D${key.toUpperCase()}=${path}`),
    ],
    { env },
  );
  await must('cmake', ['--build', libraries, '--target', 'install'], { env });
  say(`${name}: the addon`);
  const addon = join(work, 'addon');
  await must(
    'cmake',
    [
      '-S',
      root,
      '-B',
      addon,
      ...common,
      ...['C', 'CXX'].map(
        (language) => `-DCMAKE_${language}_FLAGS=${[...flags, ...acrossFiles(target)].join(' ')}`,
      ),
      ...['SHARED', 'MODULE'].map((kind) => `-DCMAKE_${kind}_LINKER_FLAGS=-s`),
      `-DLLHTTP_SOURCE_DIR=${sources.llhttp}`,
      '-DMOONRING_BUILD_ADDON=ON',
      '-DMOONRING_BUILD_TESTS=OFF',
    ],
    { env },
  );
  await must('cmake', ['--build', addon, '--target', 'moonring'], { env });
  return join(addon, 'moonring.node');
}

/** zig's tools under the names by which build systems call compilers. */
function writeTools(directory, { triple }) {
  mkdirSync(directory, { recursive: true });
  const zig = join(sources.zig, 'zig');
  const write = (tool, command) => {
    writeFileSync(join(directory, tool), `#!/bin/sh\nexec '${zig}' ${command} "$@"\n`);
    chmodSync(join(directory, tool), 0o755);
  };
  write('cc', `cc -target ${triple}`);
  write('c++', `c++ -target ${triple}`);
  write('host-cc', 'cc');
  write('ar', 'ar');
  write('ranlib', 'ranlib');
}

async function buildLuajit(work, prefix, target, env) {
  const source = join(work, 'luajit');
  cpSync(join(sources.luajit, 'luajit2'), source, { recursive: true });
  cpSync(join(sources.luajit, 'luajit_relver.txt'), join(source, '.relver'));
  const tool = (name) => join(work, 'bin', name);
  // With CHECKHOOK, compiled loops look at hooks: a handler that never ends can be interrupted.
  const xcflags = [...flags, ...acrossFiles(target), '-fPIC', '-DLUAJIT_ENABLE_CHECKHOOK'];
  if (target.os === 'linux')
    xcflags.push(...['', 'de'].map((de) => `-D__${de}register_frame=moonring_${de}register_frame`));
  const settings = {
    BUILDMODE: 'static',
    HOST_CC: tool('host-cc'),
    STATIC_CC: tool('cc'),
    DYNAMIC_CC: tool('cc'),
    TARGET_LD: tool('cc'),
    TARGET_AR: `${tool('ar')} rcus`,
    TARGET_STRIP: 'true',
    TARGET_SYS: target.os === 'darwin' ? 'Darwin' : 'Linux',
    PREFIX: target.prefix ?? '/usr',
    MULTILIB: target.multilib,
    XCFLAGS: xcflags.join(' '),
  };
  const assignments = Object.entries(settings).map(([key, value]) => `${key}=${value}`);
  const options = { env: { ...env, MACOSX_DEPLOYMENT_TARGET: '13.0' } };
  await must('make', ['-C', join(source, 'src'), '-j2', 'libluajit.a', ...assignments], options);
  cpSync(join(source, 'src', 'libluajit.a'), join(prefix, 'lib', 'libluajit.a'));
  for (const name of ['lua.h', 'lualib.h', 'lauxlib.h', 'luaconf.h', 'luajit.h', 'lua.hpp'])
    cpSync(join(source, 'src', name), join(prefix, 'include', name));
}
