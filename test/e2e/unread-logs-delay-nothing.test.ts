import type { ChildProcess } from 'node:child_process';
import { existsSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { codeOf, statusOf } from './admin-client.js';
import { startLoad } from './keep-alive-load.js';
import { startServer } from './server.js';
import { until } from './until.js';

const FULL = '/dev/full';
const noFull = existsSync(FULL) ? false : `there is no ${FULL}`;
/** The log lines exceed all buffers on the way. */
const REQUESTS = 8000;

t.test('a log that is not read delays neither requests, health checks nor the exit', async (t) => {
  let child: ChildProcess | undefined;
  const server = await startServer(t, {
    app: 'mistakes.lua',
    onStarting: async (started) => {
      child = started;
    },
  });
  child?.stdout?.pause();
  const { host, port } = server;
  const load = await startLoad({ host, port, connections: 8, target: '/raise' });
  await until('all are answered', () => load.counts.answered > REQUESTS);
  t.equal(await codeOf(server, '/livez'), 200);
  await load.stop();
  t.match(load.counts, { failed: load.counts.answered, lost: 0 }, 'each raised, and was told so');
  t.strictSame(await server.stop(), { code: 0, signal: null });
});

t.test('a log file on a full disk stops nothing', { skip: noFull }, async (t) => {
  const server = await startServer(t, { args: ['--log-file', FULL] });
  server.signal('SIGHUP');
  await until('the reload is done', async () => (await statusOf(server)).generation === 2);
  t.equal((await fetch(server.url)).status, 200);
  t.strictSame(await server.stop(), { code: 0, signal: null });
});

t.test('a log file that cannot be reopened keeps the old one', async (t) => {
  const dir = join(t.testdir({ logs: {} }), 'logs');
  const server = await startServer(t, { args: ['--log-file', join(dir, 'server.log')] });
  rmSync(dir, { recursive: true });
  server.signal('SIGUSR1');
  t.equal((await fetch(server.url)).status, 200);
  t.equal(await codeOf(server, '/livez'), 200);
  t.strictSame(await server.stop(), { code: 0, signal: null });
});
