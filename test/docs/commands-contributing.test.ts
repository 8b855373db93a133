import t from 'tap';
import { commandPages, readPage } from './pages.js';
import { runPage } from './scene.js';

for (const path of commandPages()) {
  if (path === 'README.md' || path.startsWith('docs/')) continue;
  t.test(`the commands of ${path} work`, (t) => runPage(t, readPage(path)));
}
