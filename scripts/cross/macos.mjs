import { copyFileSync, existsSync, mkdirSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { basename, join } from 'node:path';

import { hasCommand } from '../lib/find-file.mjs';
import { say } from '../lib/progress.mjs';
import { root } from '../lib/root.mjs';
import { capture, must, mustWithRetry } from '../lib/run-command.mjs';

/** Zig carries a C compiler and the headers and symbol lists of macOS's own libraries. */
const zig = 'ziglang==0.15.1';
const targets = ['aarch64-macos', 'x86_64-macos'];
const luajitHeaders = '/usr/include/luajit-2.1';
const warnings = [
  '-Wall',
  '-Wextra',
  '-Wpedantic',
  '-Wconversion',
  '-Wshadow',
  '-Wundef',
  '-Werror',
];

/**
 * Compiles every file of the core for macOS, and links the OS floor (kqueue and sockets) against
 * macOS's system library. What comes out cannot run here: this proves that it compiles and that
 * every function it calls exists, no more.
 *
 * @param {string} work keeps the compiler for the next time
 * @returns {Promise<{ passed: number, failed: number, skipped?: string }>} a file each
 */
export async function checkMacos(work) {
  if (!hasCommand('python3')) return { passed: 0, failed: 0, skipped: 'python3 is missing' };
  const python = join(work, 'zig', 'bin', 'python');
  if (!existsSync(python)) {
    say(`installing ${zig} into a virtual environment`);
    await must('python3', ['-m', 'venv', join(work, 'zig')]);
    await mustWithRetry(python, ['-m', 'pip', 'install', '--quiet', zig]);
  }
  let passed = 0;
  let failed = 0;
  for (const target of targets) {
    const bad = await compileAll({ python, target, objects: join(work, target) });
    failed += bad.length;
    passed += coreSources().length + 1 - bad.length;
    for (const output of bad) process.stdout.write(output);
  }
  return { passed, failed };
}

/** @returns {Promise<string[]>} what the compiler said about each file that failed, and the link */
async function compileAll({ python, target, objects }) {
  say(`compiling the core for ${target}`);
  rmSync(objects, { recursive: true, force: true });
  mkdirSync(objects, { recursive: true });
  // Of /usr/include only this one may be seen: the rest is Linux's.
  copyFileSync(llhttpHeader(), join(objects, 'llhttp.h'));
  const compile = ['-m', 'ziglang', 'cc', '-target', target, '-std=c11', ...warnings];
  const places = ['-Inative/src', '-Inative/include', '-isystem', objects];
  const defines = ['-D_DARWIN_C_SOURCE', '-DHS_DEBUG', '-DMOONRING_VERSION="cross"'];
  const objectOf = (source) => join(objects, `${basename(source, '.c')}.o`);
  const bad = [];
  for (const source of coreSources()) {
    const files = ['-isystem', luajitHeaders, '-c', source, '-o', objectOf(source)];
    const { code, output } = await capture(python, [...compile, ...places, ...defines, ...files]);
    if (code !== 0) bad.push(output);
  }
  const main = join(objects, 'main.c');
  writeFileSync(main, 'int main(void) { return 0; }\n');
  const floor = coreSources().filter((source) => source.startsWith('native/src/os/'));
  const link = [main, ...floor.map(objectOf), '-o', join(objects, 'os-floor')];
  const { code, output } = await capture(python, [...compile, ...link]);
  return code === 0 ? bad : [...bad, output];
}

function coreSources() {
  return readdirSync(join(root, 'native/src'), { recursive: true })
    .filter((path) => path.endsWith('.c'))
    .map((path) => join('native/src', path))
    .sort();
}

function llhttpHeader() {
  const sources = process.env.LLHTTP_SOURCE_DIR || '/usr/src/llhttp';
  const generated = join(sources, 'include', 'llhttp.h');
  return existsSync(generated) ? generated : '/usr/include/llhttp.h';
}
