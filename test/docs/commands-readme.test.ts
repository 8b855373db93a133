import t from 'tap';
import { readPage } from './pages.js';
import { runPage } from './scene.js';

t.test('what README.md says to type does what it says', (t) => runPage(t, readPage('README.md')));
