import t from 'tap';
import { readPage } from './pages.js';
import { runPage } from './scene.js';

t.test('the commands of README.md do what it promises', (t) => runPage(t, readPage('README.md')));
