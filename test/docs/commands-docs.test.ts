import t from 'tap';
import { commandPages, readPage } from './pages.js';
import { runPage } from './scene.js';

/** They take long enough to have files of their own. */
const ELSEWHERE = ['docs/getting-started.md', 'docs/errors.md'];

for (const path of commandPages()) {
  if (!path.startsWith('docs/') || ELSEWHERE.includes(path)) continue;
  t.test(`what ${path} says to type works`, (t) => runPage(t, readPage(path)));
}
