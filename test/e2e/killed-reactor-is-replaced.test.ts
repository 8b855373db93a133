import { createConnection } from 'node:net';
import t from 'tap';
import { isRunning } from './process-table.js';
import { requestText } from './raw-client.js';
import { startServer } from './server.js';
import { until } from './until.js';

const CLIENTS = 8;
const REQUEST = requestText('/', { headers: { Connection: 'close' } });

type Outcome =
  | { readonly type: 'answered'; readonly reactorPid: number }
  | { readonly type: 'refused' }
  | { readonly type: 'broken' };

// One connection, one request. It is refused when it was never made, broken when it ended without
// an answer.
function connectAndAsk(host: string, port: number): Promise<Outcome> {
  return new Promise((resolve) => {
    let connected = false;
    let text = '';
    const socket = createConnection({ host, port });
    socket.setEncoding('latin1');
    socket.on('connect', () => {
      connected = true;
      socket.write(REQUEST);
    });
    socket.on('data', (chunk: string) => {
      text += chunk;
    });
    // An error is followed by close.
    socket.on('error', () => {});
    socket.on('close', () => {
      const pid = /^HTTP\/1\.1 200 [\s\S]*\r\n\r\n(\d+)$/.exec(text)?.[1];
      if (pid !== undefined) resolve({ type: 'answered', reactorPid: Number(pid) });
      else resolve({ type: connected ? 'broken' : 'refused' });
    });
  });
}

t.test('kill -9 of a reactor under load', async (t) => {
  const server = await startServer(t, { app: 'pid.lua', processes: 2 });
  const before = server.reactorPids();
  t.equal(before.length, 2, 'two reactors run');

  const answersOf = new Map<number, number>();
  const counts = { answered: 0, refused: 0, broken: 0 };
  let loaded = true;
  const load = async () => {
    while (loaded) {
      const outcome = await connectAndAsk(server.host, server.port);
      counts[outcome.type]++;
      if (outcome.type === 'answered') {
        answersOf.set(outcome.reactorPid, (answersOf.get(outcome.reactorPid) ?? 0) + 1);
      }
    }
  };
  const clients = Array.from({ length: CLIENTS }, load);

  await until('both reactors serve', () => before.every((pid) => (answersOf.get(pid) ?? 0) > 50));
  const [victim = 0, survivor = 0] = before;
  process.kill(victim, 'SIGKILL');
  await until('the victim has ended', () => !isRunning(victim));
  const replacement = await until(
    'a replacement serves',
    () =>
      [...answersOf].find(([pid, count]) => pid !== victim && pid !== survivor && count > 50)?.[0],
  );
  loaded = false;
  await Promise.all(clients);

  t.comment(counts);
  t.equal(counts.refused, 0, 'no connection was refused');
  t.ok(counts.broken <= CLIENTS, 'only what the victim had accepted broke');
  t.strictSame(
    server.reactorPids().sort((a, b) => a - b),
    [survivor, replacement].sort((a, b) => a - b),
    'the survivor was left alone',
  );
  t.strictSame(await server.stop(), { code: 0, signal: null });
});
