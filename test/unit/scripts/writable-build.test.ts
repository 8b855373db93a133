import { existsSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { requireWritableBuild } from '../../../scripts/lib/native-build.mjs';

t.test('a package that cannot be written is refused in one sentence', async (t) => {
  // A file in the way, because nothing is read-only for root.
  const directory = t.testdir({ build: '' });
  t.throws(() => requireWritableBuild(directory), {
    name: 'SetupError',
    message:
      /build\/release, which cannot be written \(E[A-Z]+\): run this as the user who [^\n]*$/,
  });
});

t.test('one that can be written gets its build directory', async (t) => {
  const directory = t.testdir();
  requireWritableBuild(directory);
  t.ok(existsSync(join(directory, 'build', 'release')));
});
