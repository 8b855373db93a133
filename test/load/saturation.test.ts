import t from 'tap';
import { saturation } from '../../load/lib/saturation.js';

const options = {
  scenarios: { a: { preAllocatedVUs: 30, maxVUs: 60 }, b: { preAllocatedVUs: 10, maxVUs: 40 } },
};

t.test('an arrival rate that was kept is no saturation', async (t) => {
  t.strictSame(saturation({ vus: { values: { max: 40 } } }, options), []);
});

t.test('dropped iterations are', async (t) => {
  const metrics = { dropped_iterations: { values: { count: 3 } } };
  t.strictSame(saturation(metrics, options), ['3 iterations could not start in time']);
});

t.test('so is having nearly no virtual user left', async (t) => {
  const metrics = { vus: { values: { max: 96 } } };
  t.strictSame(saturation(metrics, options), ['96 of 100 virtual users were at work']);
});

t.test('a fixed number of virtual users is always at work', async (t) => {
  const closed = { scenarios: { smoke: { executor: 'constant-vus', vus: 4 } } };
  t.strictSame(saturation({ vus: { values: { max: 4 } } }, closed), []);
});

t.test('so are those of an arrival rate that may add none', async (t) => {
  const fixed = { scenarios: { breakpoint: { preAllocatedVUs: 100, maxVUs: 100 } } };
  t.strictSame(saturation({ vus: { values: { max: 100 } } }, fixed), []);
});
