import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { nodeVersions } from '../../../scripts/lib/node-versions.mjs';
import { packageRoot, version } from '../../../src/shared/package-info.js';

const read = (path: string) => readFileSync(join(packageRoot, path), 'utf8');

t.test('all supported versions of Node are tested, and no others', async (t) => {
  const majors = nodeVersions.map((each: string) => Number(each.split('.')[0]));
  const table = [...read('docs/support.md').matchAll(/^\| ([\d, ]+) \|/gm)];
  const written = table.flatMap(([, cell = '']) => cell.split(',').map(Number));
  t.strictSame(written.sort(), majors);
  const { engines } = JSON.parse(read('package.json'));
  t.equal(engines.node, `>=${Math.min(...majors)}`);
});

t.test('the changelog begins with this version', async (t) => {
  t.equal(/^## (\S+)/m.exec(read('CHANGELOG.md'))?.[1], version);
});
