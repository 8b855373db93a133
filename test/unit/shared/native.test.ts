import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { MoonringError } from '../../../src/shared/errors.js';
import { loadNative } from '../../../src/shared/native.js';

function loadError(root: string, override?: string): string {
  try {
    loadNative(root, override);
  } catch (error) {
    if (error instanceof MoonringError && error.code === 'ERR_MOONRING_ADDON') return error.message;
    throw error;
  }
  return 'it loaded';
}

t.test('a missing addon: the message has the command to run', async (t) => {
  const root = t.testdir();
  t.match(
    loadError(root),
    'build/release/moonring.node does not exist, and the package @moonring/',
  );
  t.match(loadError(root, '/no/such.node'), '/no/such.node does not exist: MOONRING_ADDON names');
});

t.test('the advice differs between a clone and an installed package', async (t) => {
  const clone = t.testdir({ clone: { src: {} }, 'a.cjs': '' });
  t.match(loadError(join(clone, 'clone')), 'does not exist: build it with "npm run build", or');
  t.match(loadError(clone), /; or build it with "npx moonring build"$/);
  const foreign = join(clone, 'a.cjs');
  t.match(loadError(clone, foreign), /is not the addon .*: build it with "npx moonring build"$/);
});

t.test('a file that is not an addon', async (t) => {
  const root = t.testdir({ 'a.cjs': 'module.exports = { allocator() {} }', 'b.node': 'text' });
  t.match(loadError(root, join(root, 'a.cjs')), 'is not the addon for this version');
  t.match(loadError(root, join(root, 'b.node')), 'does not load');
});

t.test('a node without OpenSSL', async (t) => {
  const symbol = 'throw new Error("a.node: undefined symbol: SSL_CTX_new")';
  const root = t.testdir({ 'a.cjs': symbol });
  const expected = 'undefined symbol: SSL_CTX_new (it needs a node that is built with OpenSSL 3)';
  t.match(loadError(root, join(root, 'a.cjs')), expected);
});

t.test(
  'MOONRING_ADDON is loaded instead of the built addon; empty counts as not set',
  async (t) => {
    const root = t.testdir();
    const path = join(root, 'addon.cjs');
    const members =
      'openTcpListeners() {}, adoptListener() {}, allocator() {}, Boss: class {}, Reactor: class {}';
    writeFileSync(path, `module.exports = { version: 'x', ${members} }`);
    t.equal(loadNative(root, path).version, 'x');
    t.match(loadError(root, ''), 'build/release/moonring.node');
  },
);
