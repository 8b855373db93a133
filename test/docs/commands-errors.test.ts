import t from 'tap';
import { readPage } from './pages.js';
import { runPage } from './scene.js';

t.test('every message of docs/errors.md can be provoked', (t) =>
  runPage(t, readPage('docs/errors.md')),
);
