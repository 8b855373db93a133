import t, { type Test } from 'tap';
import { statusOf } from './admin-client.js';
import { connectRaw, requestText } from './raw-client.js';
import { startServer } from './server.js';
import { until } from './until.js';

const CONNECTIONS = 64;
const REACTORS = 4;

async function spread(t: Test, accept: string, policy: string): Promise<number[]> {
  const args = ['--accept', accept, '--boss-policy', policy];
  const server = await startServer(t, { processes: REACTORS, args });
  for (let i = 0; i < CONNECTIONS; i++) {
    const client = await connectRaw(t, server);
    await client.request(requestText('/'));
  }
  // A reactor shows its connections at the end of a turn, after the responses.
  return until('all connections are shown', async () => {
    const counts = (await statusOf(server)).reactors.map(({ connections }) =>
      sumOf(Object.values(connections)),
    );
    return sumOf(counts) === CONNECTIONS && counts;
  });
}

function sumOf(counts: readonly number[]): number {
  return counts.reduce((all, count) => all + count, 0);
}

t.test('boss, round-robin', async (t) => {
  t.strictSame(await spread(t, 'boss', 'round-robin'), [16, 16, 16, 16]);
});

t.test('boss, to the reactor with the fewest connections', async (t) => {
  t.strictSame(await spread(t, 'boss', 'least'), [16, 16, 16, 16]);
});

t.test('reuseport distributes at random', async (t) => {
  const counts = await spread(t, 'reuseport', 'round-robin');
  t.comment(counts);
  t.equal(counts.length, REACTORS);
});
