import { spawnSync } from 'node:child_process';
import { chmodSync, cpSync, existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import t from 'tap';
import { findK6 } from '../../../scripts/load/k6.mjs';

const SCRIPT = fileURLToPath(new URL('../../../scripts/install-k6.sh', import.meta.url));

/** A go that records its arguments and "builds" a k6. */
const FAKE_GO = [
  '#!/bin/sh',
  'echo "$GOBIN $*" >asked',
  `printf '#!/bin/sh\\necho k6 "$@"\\n' >"$GOBIN/k6"`,
  'chmod +x "$GOBIN/k6"',
].join('\n');

t.test('k6 is installed in build/k6, at a pinned version', async (t) => {
  const tree = t.testdir({ bin: { go: FAKE_GO }, scripts: {} });
  chmodSync(join(tree, 'bin/go'), 0o755);
  const copy = join(tree, 'scripts/install-k6.sh');
  cpSync(SCRIPT, copy);
  const env = { PATH: `${tree}/bin:/usr/bin:/bin` };
  const { status, stdout } = spawnSync('sh', [copy], { env, encoding: 'utf8' });
  t.equal(status, 0);
  t.equal(stdout, 'k6 version\n');
  const asked = readFileSync(join(tree, 'asked'), 'utf8').trim();
  t.equal(asked.split(' ')[0], join(tree, 'build/k6'));
  t.match(asked, /install go\.k6\.io\/k6\/v2@v2\.\d+\.\d+$/);
});

t.test('without Go the message has the command to run', async (t) => {
  const tree = t.testdir({
    scripts: {},
    bin: { dirname: t.fixture('symlink', '/usr/bin/dirname') },
  });
  const copy = join(tree, 'scripts/install-k6.sh');
  cpSync(SCRIPT, copy);
  const env = { PATH: join(tree, 'bin') };
  const { status, stderr } = spawnSync('/bin/sh', [copy], { env, encoding: 'utf8' });
  t.equal(status, 1);
  t.match(stderr, 'Go is missing: install k6 2.x with your package manager instead.');
});

const BUILT = fileURLToPath(new URL('../../../build/k6/k6', import.meta.url));

t.test('without k6 a load test prints where to get it', { skip: existsSync(BUILT) }, async (t) => {
  const { PATH, LOAD_K6 } = process.env;
  t.teardown(() => Object.assign(process.env, { PATH }, LOAD_K6 === undefined ? {} : { LOAD_K6 }));
  process.env['PATH'] = t.testdir({});
  delete process.env['LOAD_K6'];
  t.throws(findK6, { message: /^k6 is missing\. Install k6 2\.x .* scripts\/install-k6\.sh/ });
});
