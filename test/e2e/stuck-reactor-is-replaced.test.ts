import t from 'tap';
import { codeOf, metricsOf, statusOf } from './admin-client.js';
import { connectRaw, requestText } from './raw-client.js';
import { startServer } from './server.js';
import { until } from './until.js';

// A handler that is merely slow must not be confused with this one: auto would use a worker.
const INLINE = ['--dispatch', 'inline', '--threads', '0', '--handler-timeout', '0'];

t.test('the admin listener responds while every handler is stuck', async (t) => {
  const server = await startServer(t, {
    app: 'stuck.lua',
    processes: 2,
    args: [...INLINE, '--accept', 'boss', '--liveness-grace', '0'],
  });
  for (let i = 0; i < 2; i++) {
    const client = await connectRaw(t, server);
    await client.send(requestText(`/stuck?${i}`.replace(/\?.*/, '')));
  }
  await until('both are stuck', async () => {
    const { reactors } = await statusOf(server);
    return reactors.every(({ serving }) => serving[0]?.path === '/stuck');
  });
  t.equal(await codeOf(server, '/readyz'), 200);
  t.equal(await codeOf(server, '/livez'), 200, 'busy is not dead');
  t.ok((await metricsOf(server)).size > 50);
  server.signal('SIGTERM');
  await until('drain has begun', async () => (await codeOf(server, '/readyz')) === 503);
  server.signal('SIGTERM');
  t.match(await server.exited, { code: 1 }, 'the drain could not end cleanly');
});

t.test('after the grace period it is aborted, logged and replaced', async (t) => {
  const server = await startServer(t, {
    app: 'stuck.lua',
    args: [...INLINE, '--liveness-grace', '3s'],
  });
  const [victim] = server.reactorPids();
  const client = await connectRaw(t, server);
  client.socket.on('error', () => {});
  await client.send(requestText('/stuck'));
  const silent = await server.logLine('silence', (line) => /heartbeat lost/.test(line.msg));
  t.match(silent, { reactor: 0, serving: [{ thread: 0, method: 'GET', path: '/stuck' }] });
  const crash = await server.logLine('crash', (line) => line.msg === 'reactor crashed');
  t.match(crash, {
    reason: 'stuck',
    reactorPid: victim,
    signal: 'SIGABRT',
    serving: [{ thread: 0, method: 'GET', path: '/stuck' }],
  });
  await server.logLine('the replacement', (line) => line.msg === 'reactor is ready');
  const next = await connectRaw(t, server);
  t.equal((await next.request(requestText('/'))).status, 200);
  t.match((await statusOf(server)).restarts, { stuck: 1 });
  t.strictSame(await server.stop(), { code: 0, signal: null });
});
