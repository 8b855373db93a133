import { join } from 'node:path';
import t, { type Test } from 'tap';
import { type AddonSearch, findAddon, type Machine } from '../../../src/shared/addon-file.js';
import { version } from '../../../src/shared/package-info.js';

const gnu: Machine = { platform: 'linux', arch: 'x64', libc: () => 'gnu' };
const musl: Machine = { ...gnu, libc: () => 'musl' };
const never = () => {
  throw new Error('the C library does not matter here');
};

/** A package as installed by npm, with the given platform packages beside it. */
function packageWith(t: Test, others: Readonly<Record<string, string>>, own: object = {}): string {
  const platforms = Object.entries(others).map(([name, itsVersion]) => [
    name,
    { 'package.json': JSON.stringify({ version: itsVersion }), 'moonring.node': '' },
  ]);
  const modules = { moonring: { 'package.json': '{}', ...own } };
  const tree = { node_modules: { ...modules, '@moonring': Object.fromEntries(platforms) } };
  return join(t.testdir(tree), 'node_modules', 'moonring');
}

const both = { 'linux-x64-gnu': version, 'linux-x64-musl': version };
const problem = (search: AddonSearch) => (search.path === null ? search.problem : 'it was found');

t.test('the variable, then the build, then the platform package', async (t) => {
  const built = { build: { release: { 'moonring.node': '' } } };
  const root = packageWith(t, both, built);
  const named = join(root, 'package.json');
  t.strictSame(findAddon(root, named, gnu), { path: named, from: 'variable' });
  t.match(findAddon(root, '', gnu), { path: /build\/release\/moonring\.node$/, from: 'build' });
  t.match(problem(findAddon(root, '/nowhere', gnu)), '/nowhere does not exist: MOONRING_ADDON');
});

t.test('if the packages of both C libraries are installed, the one for this node', async (t) => {
  const root = packageWith(t, both);
  t.match(findAddon(root, '', gnu).path, '@moonring/linux-x64-gnu/moonring.node');
  t.match(findAddon(root, '', musl).path, '@moonring/linux-x64-musl/moonring.node');
});

t.test(
  'modules copied from another system: which package is needed and which is installed',
  async (t) => {
    const root = packageWith(t, { 'linux-x64-gnu': version });
    const message = problem(findAddon(root, '', musl));
    t.match(message, 'there is no native addon for linux x64 (musl): ');
    t.match(message, '/build/release/moonring.node does not exist, and the package ');
    t.match(
      message,
      '@moonring/linux-x64-musl is not installed (installed: @moonring/linux-x64-gnu)',
    );
  },
);

t.test('a package of another version is not loaded', async (t) => {
  const root = packageWith(t, { 'linux-x64-gnu': '0.0.1' });
  t.match(problem(findAddon(root, '', gnu)), `is of version 0.0.1, not ${version}: install`);
});

t.test('systems without a package, and the alternatives', async (t) => {
  const root = packageWith(t, {});
  const riscv = problem(findAddon(root, '', { ...gnu, arch: 'riscv64' }));
  t.match(riscv, 'for linux riscv64 (gnu)');
  t.match(riscv, 'no package is made for it: use one of linux-x64-gnu, ');
  const mac = problem(findAddon(root, '', { platform: 'darwin', arch: 'x64', libc: never }));
  t.match(mac, 'for darwin x64: ');
});
