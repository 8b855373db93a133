import t from 'tap';
import { metricsOf } from './admin-client.js';
import { cpuMsOf, noUsage } from './process-usage.js';
import { connectRaw, requestText } from './raw-client.js';
import { startServer } from './server.js';
import { until } from './until.js';

/*
 * When every descriptor is in use, a listener stays readable, and a server that retries at once
 * keeps a CPU busy. Ours pauses, with some descriptors reserved for handlers, and the clients wait
 * in the listen queue.
 */

const DESCRIPTORS = 128;
const CLIENTS = 150;
const PAUSES = 3;
const PAUSED = /accepting is paused/;
const PAUSE_COUNT = 'moonring_connections_rejected_total{reason="descriptors"}';
/** One pause is half a second. */
const PAUSES_MS = PAUSES * 300;
const CPU_SHARE = 0.25;

t.test('accepting pauses without spinning and resumes', { skip: noUsage }, async (t) => {
  // A worker opens the files of the handler at its first request.
  const args = ['--dispatch', 'worker', '--threads', '1'];
  const server = await startServer(t, { descriptors: DESCRIPTORS, args });
  const [reactor = 0] = server.reactorPids();
  const pauses = async () => (await metricsOf(server)).get(PAUSE_COUNT) ?? 0;

  const clients = await Promise.all(Array.from({ length: CLIENTS }, () => connectRaw(t, server)));
  await server.logLine('the pause', ({ msg }) => PAUSED.test(msg));
  await Promise.all(clients.map((client) => client.send(requestText('/'))));

  const cpuBeforeMs = cpuMsOf(reactor);
  const begin = performance.now();
  const wanted = (await pauses()) + PAUSES;
  await until('more pauses', async () => (await pauses()) >= wanted);
  const tookMs = performance.now() - begin;
  const cpuMs = cpuMsOf(reactor) - cpuBeforeMs;
  t.comment(`${PAUSES} pauses: ${tookMs.toFixed(0)} ms, ${cpuMs} ms of processor time`);
  t.equal(server.logs.filter(({ msg }) => PAUSED.test(msg)).length, 1, 'logged once');
  t.ok(tookMs > PAUSES_MS, `${PAUSES} pauses took ${tookMs.toFixed(0)} ms`);
  t.ok(cpuMs < tookMs * CPU_SHARE, `${cpuMs} ms of processor time in ${tookMs.toFixed(0)} ms`);

  const served = clients.filter((client) => client.unread() > 0);
  const waiting = clients.filter((client) => client.unread() === 0);
  t.ok(served.length > 0, `${served.length} clients are inside`);
  t.ok(waiting.length > CLIENTS - DESCRIPTORS, `${waiting.length} clients wait`);
  for (const client of served) {
    t.equal((await client.next()).status, 200);
    t.equal((await client.request(requestText('/'))).status, 200, 'those inside are served');
  }

  // As they leave, all others are accepted.
  for (const client of served) client.socket.destroy();
  for (const client of waiting) {
    t.equal((await client.next()).status, 200, 'served after the wait');
    client.socket.destroy();
  }
  t.strictSame(server.reactorPids(), [reactor], 'by the same reactor');
  t.strictSame(await server.stop(), { code: 0, signal: null });
});
