import t from 'tap';

/** k6's variables, which the modules of load/ read when they are loaded. */
Object.assign(globalThis, { __ENV: { PROCESSES: '2' } });
const { constantRate, ramp, throughStalls } = await import('../../load/lib/executors.js');

t.test('there are 32 virtual users per reactor, or more for a high rate', async (t) => {
  t.equal(constantRate(10, 60).preAllocatedVUs, 64);
  t.equal(constantRate(1000, 60).preAllocatedVUs, 250);
});

t.test('a run that counts lost requests survives a pause of one second', async (t) => {
  t.equal(constantRate(300, 60, {}, throughStalls).preAllocatedVUs, 300);
});

t.test('the virtual users of a ramp are enough for its highest step', async (t) => {
  const steps: [number, number][] = [
    [1000, 10],
    [4000, 10],
    [1000, 10],
  ];
  t.equal(ramp(1000, steps).preAllocatedVUs, 1000);
});

t.test('a few more than planned are not saturation yet', async (t) => {
  const { preAllocatedVUs, maxVUs } = constantRate(1000, 60);
  t.ok(maxVUs > preAllocatedVUs);
});

t.test('k6 gets whole rates, at least 1', async (t) => {
  t.equal(constantRate(2.5, 60).rate, 3);
  const { startRate, stages } = ramp(0.2, [[10.4, 0.5]]);
  t.equal(startRate, 1);
  t.strictSame(stages, [{ target: 10, duration: '0.5s' }]);
});
