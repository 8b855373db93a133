import t from 'tap';
import { connectRaw, requestText } from './raw-client.js';
import { startServer } from './server.js';

const WAITERS = 64;

t.test('64 clients wait for 4 workers and the reactor serves others at once', async (t) => {
  const server = await startServer(t, {
    app: 'dispatch.lua',
    args: ['--dispatch', 'inline', '--threads', '4'],
  });
  const health = await connectRaw(t, server);
  await health.request(requestText('/quick'));
  const waiters = await Promise.all(Array.from({ length: WAITERS }, () => connectRaw(t, server)));
  await Promise.all(waiters.map((waiter) => waiter.send(requestText('/wait'))));
  for (let i = 0; i < 10; i++) {
    t.equal((await health.request(requestText('/quick'))).body.toString(), 'quick');
  }
  // Four finish per second: over half of them would have, if each quick request had waited.
  t.ok(waiters.filter((waiter) => waiter.unread() === 0).length > WAITERS / 2, 'others wait');
  // Four at a time: the first ones finish while the others still wait.
  const first = waiters.slice(0, 4);
  for (const waiter of first) t.equal((await waiter.next()).body.toString(), 'waited');
});

t.test('a handler that asks for a worker when there is none gets 500', async (t) => {
  const server = await startServer(t, { app: 'dispatch.lua', args: ['--threads', '0'] });
  const client = await connectRaw(t, server);
  t.equal((await client.request(requestText('/wait'))).status, 500);
  t.equal((await client.request(requestText('/where'))).body.toString(), 'inline');
  await server.logLine('what was missing', (line) => /asked for a worker/.test(line.msg ?? ''));
});

t.test('each dispatch mode runs handlers where it says', async (t) => {
  for (const [mode, where] of [
    ['inline', 'inline'],
    ['auto', 'inline'],
    ['worker', 'worker'],
  ] as const) {
    const server = await startServer(t, { app: 'dispatch.lua', args: ['--dispatch', mode] });
    const client = await connectRaw(t, server);
    t.equal((await client.request(requestText('/where'))).body.toString(), where, mode);
  }
});
