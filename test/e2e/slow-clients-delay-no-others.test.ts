import t, { type Test } from 'tap';
import { descriptorsOf, noUsage } from './process-usage.js';
import { connectRaw, type RawClient, requestText } from './raw-client.js';
import { type Server, startServer } from './server.js';
import { until } from './until.js';

/*
 * Slowloris: clients that send a request head a byte at a time and never finish it. The timeout is
 * for the whole head, so that an occasional byte does not extend it.
 */

const SLOW = 200;
const REQUESTS = 400;
const HEADER_TIMEOUT_MS = 5000;
const TIMES = 3;
/** Delay allowed on a busy machine; a client that waited for slow ones would take seconds. */
const NOISE_MS = 100;

/** Latencies in milliseconds of many requests on one connection; `between` runs after each. */
async function latencies(client: RawClient, between: (i: number) => unknown): Promise<number[]> {
  const times: number[] = [];
  for (let i = 0; i < REQUESTS; i++) {
    const begin = performance.now();
    const answer = await client.request(requestText('/'));
    times.push(performance.now() - begin);
    if (answer.status !== 200) throw new Error(answer.head);
    await between(i);
  }
  return times.sort((a, b) => a - b);
}

async function connectSlow(t: Test, server: Server): Promise<RawClient[]> {
  const clients = await Promise.all(Array.from({ length: SLOW }, () => connectRaw(t, server)));
  await Promise.all(clients.map((client) => client.send('GET / HTTP/1.1\r\nHost: a\r\nX-Slow: ')));
  return clients;
}

t.test('clients that send a head byte by byte', { skip: noUsage }, async (t) => {
  const args = ['--header-timeout', `${HEADER_TIMEOUT_MS}ms`];
  const server = await startServer(t, { args });
  const [reactor = 0] = server.reactorPids();
  const client = await connectRaw(t, server);
  await latencies(client, () => {});
  const alone = await latencies(client, () => {});
  const before = descriptorsOf(reactor);

  const begin = performance.now();
  const slow = await connectSlow(t, server);
  // The server may have closed the connection.
  const drip = (i: number) => slow[i % SLOW]?.send('x').catch(() => {});
  const among = await latencies(client, drip);
  const middle = REQUESTS / 2;
  const aloneMs = alone[middle] ?? Number.NaN;
  const amongMs = among[middle] ?? Number.NaN;
  t.comment(`median alone ${aloneMs.toFixed(3)} ms, among ${SLOW} slow ones ${amongMs.toFixed(3)}`);
  t.ok(amongMs < Math.max(TIMES * aloneMs, NOISE_MS), 'a normal client is as fast as before');

  // They continue until the server has closed each connection.
  let over = 0;
  const ends = slow.map(async (one) => {
    const answer = await one.next();
    over++;
    if (answer.status !== 408) t.fail(answer.head);
    await one.ended();
    one.socket.end();
  });
  for (let i = 0; over < SLOW; i++) {
    await drip(i);
    await client.request(requestText('/'));
  }
  await Promise.all(ends);
  const tookMs = performance.now() - begin;
  t.ok(tookMs >= HEADER_TIMEOUT_MS, 'no client was sent away early');

  t.equal((await client.request(requestText('/'))).status, 200);
  // The closes may be read in more than one turn.
  await until('they left no descriptor', () => descriptorsOf(reactor) === before);
  t.strictSame(await server.stop(), { code: 0, signal: null });
});
