import t from 'tap';
import { commandPages, readPage } from './pages.js';
import { runPage } from './scene.js';

/** These pages take so long that each has a separate test file. */
const ELSEWHERE = ['docs/getting-started.md', 'docs/errors.md'];

for (const path of commandPages()) {
  if (!path.startsWith('docs/') || ELSEWHERE.includes(path)) continue;
  t.test(`the commands of ${path} work`, (t) => runPage(t, readPage(path)));
}
