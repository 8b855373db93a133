import { once } from 'node:events';
import { createServer as createNodeServer } from 'node:net';
import t from 'tap';
import { createServer, MoonringError } from '../../dist/index.js';

const OPTIONS = { port: 0, processes: 2, admin: 'off', logLevel: 'off' } as const;

t.test('start, stats, reload, scale, drain', { timeout: 60_000 }, async (t) => {
  const server = createServer({ ...OPTIONS, app: 'test/e2e/apps/pid.lua', accept: 'boss' });
  t.throws(() => server.stats(), { code: 'ERR_MOONRING_USAGE' });
  const heard: string[] = [];
  for (const event of ['ready', 'reloaded', 'stopping', 'end'] as const) {
    server.on(event, () => heard.push(event));
  }
  const ready = await server.start();
  t.match(ready, { processes: 2, accept: 'boss', admin: [] });
  t.equal((await fetch(ready.address)).status, 200);
  t.match(server.stats(), { phase: 'serving', generation: 1, ready: true });
  t.strictSame(await server.reload(), { generation: 2 });
  server.scale(1);
  t.throws(() => server.scale(9999), { code: 'ERR_MOONRING_CONTROL' });
  t.equal((await fetch(ready.address)).status, 200);
  await server.drain();
  t.strictSame(heard, ['ready', 'reloaded', 'stopping', 'end']);
  await t.rejects(server.start(), { code: 'ERR_MOONRING_USAGE' }, 'once');
});

t.test('what is wrong rejects', async (t) => {
  const wrong: [object, string][] = [
    [{ prot: 1 }, 'ERR_MOONRING_CONFIG'],
    [{ maxBody: 'much' }, 'ERR_MOONRING_CONFIG'],
    [{ app: '/does/not/exist.lua' }, 'ERR_MOONRING_HANDLER'],
    [{ app: 'test/e2e/apps/syntax-error.lua' }, 'ERR_MOONRING_HANDLER'],
  ];
  for (const [options, code] of wrong) {
    const server = createServer({ ...OPTIONS, ...options });
    await t.rejects(server.start(), MoonringError);
    const again = createServer({ ...OPTIONS, ...options });
    await t.rejects(again.start(), { code }, code);
  }
  const other = createNodeServer().listen(0, '127.0.0.1');
  await once(other, 'listening');
  t.teardown(() => other.close());
  const address = other.address();
  const port = typeof address === 'object' && address !== null ? address.port : 0;
  await t.rejects(createServer({ ...OPTIONS, port }).start(), { code: 'ERR_MOONRING_LISTEN' });
});

t.test('an end, good or bad, leaves no timer and no listener behind', async (t) => {
  const timers = () => process.getActiveResourcesInfo().filter((name) => name === 'Timeout').length;
  const other = createNodeServer().listen(0, '127.0.0.1');
  await once(other, 'listening');
  t.teardown(() => other.close());
  const address = other.address();
  const port = typeof address === 'object' && address !== null ? address.port : 0;
  const options = { ...OPTIONS, app: 'test/e2e/apps/pid.lua', processes: 1 };
  const before = { timers: timers(), listeners: process.listenerCount('exit') };
  const after = () => ({ timers: timers(), listeners: process.listenerCount('exit') });

  const refused = createServer({ ...options, admin: `127.0.0.1:${port}` });
  await t.rejects(refused.start(), { code: 'ERR_MOONRING_LISTEN' });
  t.strictSame(after(), before, 'the admin address is taken');
  await t.rejects(createServer({ ...options, port }).start(), { code: 'ERR_MOONRING_LISTEN' });
  t.strictSame(after(), before, 'the address is taken');
  const server = createServer(options);
  await server.start();
  await server.stop();
  t.equal(after().listeners, before.listeners, 'it was stopped');
});

t.test('stop ends at once', async (t) => {
  const server = createServer({ ...OPTIONS, app: 'test/e2e/apps/pid.lua' });
  await server.start();
  await server.stop();
  t.throws(() => server.stats(), { code: 'ERR_MOONRING_USAGE' });
});
