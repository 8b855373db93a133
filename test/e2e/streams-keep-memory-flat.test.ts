import { once } from 'node:events';
import { createConnection, type Socket } from 'node:net';
import { setTimeout as delay } from 'node:timers/promises';
import t, { type Test } from 'tap';
import { noUsage, residentBytesOf } from './process-usage.js';
import { connectRaw, requestText } from './raw-client.js';
import { type Server, startServer } from './server.js';

const MIB = 1024 ** 2;
/** One GiB with STREAM_MIB=1024; the suite has less time. */
const STREAM_BYTES = Number(process.env.STREAM_MIB ?? 64) * MIB;
const PIECE_BYTES = 16 * 1024;
/** Buffers of the stream and the allocator, and one-time costs of the first request of a kind. */
const SLACK_BYTES = 12 * MIB;

async function serve(t: Test): Promise<{ server: Server; reactor: number }> {
  const server = await startServer(t, {
    app: 'streams.lua',
    processes: 1,
    args: ['--dispatch', 'inline', '--max-body', '1g'],
  });
  return { server, reactor: server.reactorPids()[0] ?? 0 };
}

async function open(t: Test, server: Server): Promise<Socket> {
  const socket = createConnection({ host: server.host, port: server.port });
  t.teardown(() => socket.destroy());
  await once(socket, 'connect');
  return socket;
}

t.test('a long stream to a slow reader', { skip: noUsage }, async (t) => {
  const { server, reactor } = await serve(t);
  const others = await connectRaw(t, server);
  await others.request(requestText('/'));
  const before = residentBytesOf(reactor);
  const socket = await open(t, server);
  socket.write(requestText(`/down?${STREAM_BYTES / PIECE_BYTES}`));
  let received = 0;
  let rests = 0;
  let most = 0;
  for await (const piece of socket) {
    received += (piece as Buffer).length;
    if (received > STREAM_BYTES) break;
    if (received < rests * 4 * MIB) continue;
    rests += 1;
    // Long enough for the server to fill every buffer.
    await delay(20);
    most = Math.max(most, residentBytesOf(reactor));
    t.equal((await others.request(requestText('/'))).body.toString(), 'quick');
  }
  t.ok(received > STREAM_BYTES);
  t.ok(most < before + SLACK_BYTES, `${most - before} bytes more`);
});

t.test('a long upload from a slow writer', { skip: noUsage }, async (t) => {
  const { server, reactor } = await serve(t);
  const others = await connectRaw(t, server);
  await others.request(requestText('/'));
  const before = residentBytesOf(reactor);
  const client = await connectRaw(t, server);
  const headers = { 'Content-Length': String(STREAM_BYTES) };
  await client.send(requestText('/up', { method: 'PUT', headers }));
  const piece = Buffer.alloc(MIB, 'x');
  let most = 0;
  for (let sent = 0; sent < STREAM_BYTES; sent += MIB) {
    await client.send(piece);
    if (sent % (8 * MIB) === 0) {
      await delay(20);
      most = Math.max(most, residentBytesOf(reactor));
      t.equal((await others.request(requestText('/'))).body.toString(), 'quick');
    }
  }
  t.equal((await client.next('PUT')).body.toString(), String(STREAM_BYTES));
  t.ok(most < before + SLACK_BYTES, `${most - before} bytes more`);
});
