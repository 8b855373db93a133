import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { watchFiles } from '../../../../src/master/reload/watch.js';
import { until } from '../../../e2e/until.js';

t.test('a change of a .lua file is told once, of another file never', async (t) => {
  const dir = t.testdir({ 'app.lua': '', lib: { 'a.lua': '' } });
  let changes = 0;
  const onProblem = (error: unknown) => t.fail(String(error));
  const watcher = watchFiles(join(dir, 'app.lua'), { onChange: () => changes++, onProblem });
  t.teardown(() => watcher.close());
  writeFileSync(join(dir, 'notes.txt'), 'x');
  writeFileSync(join(dir, 'app.lua'), 'a = 1');
  await until('it is told', () => changes > 0);
  t.equal(changes, 1);
});

t.test('a directory that cannot be watched is told, and ends nothing', async (t) => {
  const problems: unknown[] = [];
  const missing = join(t.testdir(), 'none', 'app.lua');
  const onProblem = (error: unknown) => problems.push(error);
  watchFiles(missing, { onChange: () => {}, onProblem }).close();
  await until('it is told', () => problems.length > 0);
  t.match(problems[0], { code: 'ENOENT' });
});
