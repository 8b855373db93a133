import t from 'tap';
import { commandPages, readPage } from './pages.js';
import { runPage } from './scene.js';

for (const path of commandPages()) {
  if (path === 'README.md' || path.startsWith('docs/')) continue;
  t.test(`what ${path} says to type works`, (t) => runPage(t, readPage(path)));
}
