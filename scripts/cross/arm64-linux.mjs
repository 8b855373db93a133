import { cpSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { captureInRoot, ensureDebianRoot, mustInRoot, whyNoRoot } from '../lib/debian-root.mjs';
import { say } from '../lib/progress.mjs';
import { root as sourceTree } from '../lib/root.mjs';
import { countCtest } from '../lib/run-tests.mjs';
import { listFiles } from '../lib/source-files.mjs';

const compilers = ['gcc-aarch64-linux-gnu', 'g++-aarch64-linux-gnu', 'libc6-dev-arm64-cross'];
const tools = ['cmake', 'ninja-build', 'pkg-config', 'qemu-user'];
const libraries = ['libluajit-5.1-dev', 'libllhttp-dev', 'libcmocka-dev', 'lua-cjson'];

/**
 * Builds the core for 64-bit ARM in a Debian 13 root and runs its C tests under qemu-user.
 *
 * @param {string} work keeps the root for the next time
 * @returns {Promise<{ passed: number, failed: number, skipped?: string }>}
 */
export async function checkArm64Linux(work) {
  const reason = await whyNoRoot();
  if (reason !== null) return { passed: 0, failed: 0, skipped: reason };
  const root = join(work, 'root');
  const packages = [...compilers, ...tools, ...libraries.map((name) => `${name}:arm64`)];
  await ensureDebianRoot(root, packages, { foreign: 'arm64' });

  const inside = '/src';
  rmSync(join(root, inside), { recursive: true, force: true });
  for (const path of listFiles(sourceTree)) {
    cpSync(join(sourceTree, path), join(root, inside, path));
  }
  say('building the core and its tests for arm64');
  const settings = [
    `-DCMAKE_TOOLCHAIN_FILE=${inside}/cmake/aarch64-linux.cmake`,
    '-DCMAKE_BUILD_TYPE=Debug',
    '-DMOONRING_WERROR=ON',
    '-DMOONRING_BUILD_ADDON=OFF',
  ];
  const build = `${inside}/build`;
  await mustInRoot(root, ['cmake', '-S', inside, '-B', build, '-G', 'Ninja', ...settings]);
  await mustInRoot(root, ['cmake', '--build', build]);
  say('running the C tests under qemu-user');
  const { code, output } = await captureInRoot(root, ['ctest', '--test-dir', build, '-V']);
  const result = countCtest(output, code);
  if (result.output) process.stdout.write(`${result.output}\n`);
  const { passed, failed } = result;
  return { passed, failed };
}
