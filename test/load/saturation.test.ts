import t from 'tap';
import { saturation } from '../../load/lib/saturation.js';

const options = {
  scenarios: { a: { preAllocatedVUs: 30, maxVUs: 60 }, b: { preAllocatedVUs: 10, maxVUs: 40 } },
};

t.test('an arrival rate that was kept is not saturation', async (t) => {
  t.strictSame(saturation({ vus: { values: { max: 40 } } }, options), []);
});

t.test('dropped iterations are saturation', async (t) => {
  const metrics = { dropped_iterations: { values: { count: 3 } } };
  t.strictSame(saturation(metrics, options), ['3 iterations could not start in time']);
});

t.test('having nearly no free virtual users is saturation', async (t) => {
  const metrics = { vus: { values: { max: 96 } } };
  t.strictSame(saturation(metrics, options), ['96 of 100 virtual users were at work']);
});

t.test('a fixed number of virtual users is always busy', async (t) => {
  const closed = { scenarios: { smoke: { executor: 'constant-vus', vus: 4 } } };
  t.strictSame(saturation({ vus: { values: { max: 4 } } }, closed), []);
});

t.test('so is an arrival rate that may add no virtual users', async (t) => {
  const fixed = { scenarios: { breakpoint: { preAllocatedVUs: 100, maxVUs: 100 } } };
  t.strictSame(saturation({ vus: { values: { max: 100 } } }, fixed), []);
});
