import t from 'tap';
import { startServer } from './server.js';
import { until } from './until.js';

const APP = 'test/e2e/apps/limits.lua';
const args = ['--accept', 'boss', '--shared', 'limits=1m,locks=1m,cache=1m'];

async function many<T>(count: number, ask: () => Promise<T>): Promise<T[]> {
  return await Promise.all(Array.from({ length: count }, ask));
}

t.test('no more than the rate is admitted, whichever reactor handles the requests', async (t) => {
  const { url } = await startServer(t, { app: APP, processes: 3, args });
  let [admitted, refused, over] = [0, 0, false];
  const begunMs = performance.now();
  const clients = Array.from({ length: 6 }, async () => {
    while (!over) {
      const response = await fetch(`${url}/rate`);
      await response.text();
      if (response.status === 200) admitted++;
      if (response.status !== 429) continue;
      refused++;
      t.equal(response.headers.get('retry-after'), '1');
      t.match(response.headers.get('ratelimit-policy') ?? '', /^"rate";q=20;w=1$/);
      t.match(response.headers.get('ratelimit') ?? '', /^"rate";r=0;t=1$/);
    }
  });
  await until('many were refused', () => refused > 60);
  over = true;
  await Promise.all(clients);
  const most = 20 + ((performance.now() - begunMs) / 1000) * 20;
  t.ok(admitted <= most, `${admitted} of at most ${most.toFixed(1)}`);
  t.ok(admitted >= 20, 'the burst');
});

t.test('one reactor computes a value that all request', async (t) => {
  const { url } = await startServer(t, { app: APP, processes: 3, args });
  const values = await many(30, async () => (await fetch(`${url}/computed`)).json());
  for (const value of values) t.match(value, { times: 1 });
});

t.test(
  'a lock keeps reactors out of each other, and ends with a holder that is killed',
  async (t) => {
    const server = await startServer(t, { app: APP, processes: 3, args });
    const sums = await many(60, async () => {
      const body = (await (await fetch(`${server.url}/add`)).json()) as { sum: number; by: number };
      return body;
    });
    t.strictSame(
      sums.map(({ sum }) => sum).sort((a, b) => a - b),
      Array.from({ length: 60 }, (_, i) => i + 1),
    );
    t.ok(new Set(sums.map(({ by }) => by)).size > 1, 'by several reactors');
    const hanging = await fetch(`${server.url}/hang`);
    const reader = hanging.body?.getReader();
    await reader?.read();
    for (const pid of server.reactorPids()) process.kill(pid, 'SIGKILL');
    await t.rejects(async () => {
      while (!(await reader?.read())?.done);
    });
    const add = async () => (await fetch(`${server.url}/add`)).ok;
    await until('successors have the lock', async () => add().catch(() => false));
    const place = async () => (await fetch(`${server.url}/place`)).ok;
    t.ok(await place(), 'and the place of the dead one');
  },
);
