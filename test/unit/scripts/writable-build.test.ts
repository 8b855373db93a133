import { existsSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { requireWritableBuild } from '../../../scripts/lib/native-build.mjs';

t.test('the message about a read-only package is one line', async (t) => {
  // A file in the way, because root can write anywhere.
  const directory = t.testdir({ build: '' });
  t.throws(() => requireWritableBuild(directory), {
    name: 'SetupError',
    message:
      /build\/release, which cannot be written \(E[A-Z]+\): run this as the user who [^\n]*$/,
  });
});

t.test('a writable package gets its build directory', async (t) => {
  const directory = t.testdir();
  requireWritableBuild(directory);
  t.ok(existsSync(join(directory, 'build', 'release')));
});
