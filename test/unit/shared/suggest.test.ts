import t from 'tap';
import { didYouMean, nearest } from '../../../src/shared/suggest.js';

const KNOWN = ['port', 'host', 'maxBody', 'maxHeaders', 'headerTimeout'];

t.test('a typo is recognised', async (t) => {
  const slips: readonly [string, string][] = [
    ['prot', 'port'],
    ['ports', 'port'],
    ['maxbody', 'maxBody'],
    ['maxHeader', 'maxHeaders'],
    ['headertimeuot', 'headerTimeout'],
  ];
  for (const [slip, meant] of slips) t.equal(nearest(slip, KNOWN), meant, slip);
  t.equal(didYouMean('prot', KNOWN), ' (Did you mean port?)');
});

t.test('a name unlike any other gets no suggestion', async (t) => {
  for (const name of ['', 'x', 'version', 'workers', 'a'.repeat(1000)]) {
    t.equal(nearest(name, KNOWN), null, name.slice(0, 20));
  }
  t.equal(didYouMean('workers', KNOWN), '');
});
