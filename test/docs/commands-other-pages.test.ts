import t from 'tap';
import { commandPages, readPage } from './pages.js';
import { runPage } from './scene.js';

const ON_THEIR_OWN = ['README.md', 'docs/getting-started.md', 'docs/errors.md'];

for (const path of commandPages().filter((path) => !ON_THEIR_OWN.includes(path))) {
  const page = readPage(path);
  if (!page.blocks.some(({ language }) => language === 'sh')) continue;
  t.test(`what ${path} says to type works`, (t) => runPage(t, page));
}
