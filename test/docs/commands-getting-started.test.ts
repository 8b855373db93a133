import t from 'tap';
import { readPage } from './pages.js';
import { runPage } from './scene.js';

t.test('docs/getting-started.md can be followed from top to bottom', (t) =>
  runPage(t, readPage('docs/getting-started.md')),
);
