import t, { type Test } from 'tap';
import { isRunning } from './process-table.js';
import { connectRaw, type RawClient, requestText } from './raw-client.js';
import { type Server, startServer } from './server.js';
import { within } from './until.js';

/** A drain that waited for more than the requests in flight would exceed this. */
const ARGS = ['--drain-timeout', '1h'];
/** With two reactors, one of them gets none of so many connections once in 2^63 runs. */
const CONNECTIONS_MAX = 64;
const BODY = 'the second half comes later';
const HALF = BODY.length / 2;

/**
 * A connection in the middle of a request: the server has read its head and half of its
 * content.
 */
async function halfwayThroughRequest(t: Test, server: Server): Promise<RawClient> {
  const client = await connectRaw(t, server);
  const headers = { 'Content-Length': String(BODY.length) };
  const head = requestText('/echo', { method: 'POST', headers });
  // One write, so that the response to the first request means that the rest has arrived too.
  await client.send(requestText('/') + head + BODY.slice(0, HALF));
  t.equal((await client.next()).status, 200);
  return client;
}

/**
 * Idle connections, at least one on every reactor. A reactor closes them only after it has begun
 * to drain, so that all reactors are draining once all of these are closed.
 */
async function idleOnEach(t: Test, server: Server, reactors: number[]): Promise<RawClient[]> {
  const clients: RawClient[] = [];
  const reached = new Set<number>();
  while (!reactors.every((pid) => reached.has(pid))) {
    if (clients.length === CONNECTIONS_MAX) throw new Error('not every reactor gets connections');
    const client = await connectRaw(t, server);
    reached.add(Number((await client.request(requestText('/'))).body.toString()));
    clients.push(client);
  }
  return clients;
}

for (const signal of ['SIGTERM', 'SIGINT'] as const) {
  t.test(
    `${signal} finishes requests in flight, closes idle connections and exits 0`,
    async (t) => {
      const server = await startServer(t, { app: 'pid-and-echo.lua', processes: 2, args: ARGS });
      const reactors = server.reactorPids();
      const idle = await idleOnEach(t, server, reactors);
      const silent = await connectRaw(t, server);
      const busy = await halfwayThroughRequest(t, server);

      server.signal(signal);
      for (const client of idle) await client.ended();
      await silent.ended();

      await busy.send(BODY.slice(HALF));
      const answer = await busy.next('POST');
      t.equal(answer.status, 200);
      t.equal(answer.body.toString(), BODY);
      t.equal(answer.headers.get('connection'), 'close');
      await busy.ended();

      const exit = await within('the exit after the last response', server.exited);
      t.strictSame(exit, { code: 0, signal: null });
      t.notOk(reactors.some(isRunning), 'no reactor is left');
      t.strictSame(
        server.logs.filter((line) => line.level >= 50),
        [],
        'nothing was logged as an error',
      );
    },
  );

  t.test(`${signal} without any connection exits 0`, async (t) => {
    const server = await startServer(t, { args: ARGS });
    server.signal(signal);
    t.strictSame(await within('the exit', server.exited), { code: 0, signal: null });
  });
}
