import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { type IncomingMessage, request as makeRequest, type RequestListener } from 'node:http';
import { Readable } from 'node:stream';
import { buffer } from 'node:stream/consumers';
import t, { type Test } from 'tap';
import { type Upstream, upstream } from './fetching.js';
import { memoryOf, noUsage } from './process-usage.js';
import { type Server, startServer } from './server.js';
import { until } from './until.js';

/* A gateway in Lua: content is streamed through it both ways, at the speed of the slower side. */

const PIECE = randomBytes(64 * 1024);
/** Much more than the buffers of all connections hold. */
const PIECES = 2000;

async function startGateway(
  t: Test,
  listener: RequestListener,
): Promise<{ server: Server; behind: Upstream }> {
  const behind = await upstream(t, listener);
  const env = { UPSTREAM: new URL(behind.url).port };
  const args = ['--max-body', '1g', '--max-body-memory', '1g'];
  return { server: await startServer(t, { app: 'gateway.lua', args, env }), behind };
}

function pieces(): Readable {
  return Readable.from(
    (function* () {
      for (let i = 0; i < PIECES; i += 1) yield PIECE;
    })(),
    { objectMode: false, highWaterMark: PIECE.length },
  );
}

/** Sends a request through the gateway; resolves when the head of the response has arrived. */
async function send(server: Server, options: object, content?: Readable): Promise<IncomingMessage> {
  const sent = makeRequest(server.url, { agent: false, ...options });
  sent.on('error', () => {});
  if (content) content.pipe(sent);
  else sent.end();
  const [response] = (await once(sent, 'response')) as [IncomingMessage];
  return response;
}

t.test('requests and responses are forwarded', async (t) => {
  const { server } = await startGateway(t, (request, response) => {
    const pieces: Buffer[] = [];
    request.on('data', (piece: Buffer) => pieces.push(piece));
    request.on('end', () => {
      const { method, url, headers } = request;
      response.writeHead(201, 'Made', { 'X-A': ['1', '2'], 'Set-Cookie': ['a=b', 'c=d'] });
      response.end(JSON.stringify({ method, url, headers, content: pieces.join('') }));
    });
  });
  const headers = { 'X-B': ['1', '2'], Connection: 'close, X-Hop', 'X-Hop': 'x' };
  for (const [content, framing] of [
    [undefined, {}],
    ['some content', { 'content-length': '12' }],
    ['some content', { 'transfer-encoding': 'chunked' }],
  ] as const) {
    const options = { method: 'PUT', path: '/a?b', headers: { ...headers, ...framing } };
    const response = await send(server, options, content ? Readable.from([content]) : undefined);
    t.match(response, {
      statusCode: 201,
      headers: { 'x-a': '1, 2', 'set-cookie': ['a=b', 'c=d'] },
    });
    const seen = JSON.parse((await buffer(response)).toString());
    t.match(seen, { method: 'PUT', url: '/a?b', content: content ?? '' });
    t.match(seen.headers, { host: `${server.host}:${server.port}`, 'x-b': '1, 2', ...framing });
    t.notOk('x-hop' in seen.headers);
  }
});

t.test('a long response to a slow client', { skip: noUsage }, async (t) => {
  const { server } = await startGateway(t, (_, response) => {
    pieces().pipe(response);
  });
  const [reactor = 0] = server.reactorPids();
  const response = await send(server, {});
  const before = memoryOf(reactor);
  let size = 0;
  let most = 0;
  for await (const piece of response) {
    size += (piece as Buffer).length;
    most = Math.max(most, memoryOf(reactor));
  }
  t.equal(size, PIECE.length * PIECES);
  t.ok(most - before < 32 * 1024 * 1024, `memory grew by ${most - before}`);
});

t.test('a long request to a slow server', { skip: noUsage }, async (t) => {
  const { server } = await startGateway(t, async (request, response) => {
    let size = 0;
    for await (const piece of request) {
      size += (piece as Buffer).length;
      if (size % 16 === 0) await new Promise((resolve) => setImmediate(resolve));
    }
    response.end(String(size));
  });
  const [reactor = 0] = server.reactorPids();
  const before = memoryOf(reactor);
  const response = await send(server, { method: 'POST' }, pieces());
  t.ok(memoryOf(reactor) - before < 32 * 1024 * 1024, 'memory is flat');
  t.equal((await buffer(response)).toString(), String(PIECE.length * PIECES));
});

t.test('a server that dies in the middle of a response', async (t) => {
  const { server } = await startGateway(t, (_, response) => {
    response.write(PIECE, () => response.destroy());
  });
  const response = await send(server, {});
  await t.rejects(buffer(response), 'the client sees that the response is not complete');
});

t.test('a client that disconnects in the middle of a response', async (t) => {
  let closed = 0;
  const { server } = await startGateway(t, (request, response) => {
    request.socket.on('close', () => {
      closed += 1;
    });
    pieces().pipe(response);
  });
  const responses = await Promise.all(Array.from({ length: 5 }, () => send(server, {})));
  for (const response of responses) response.destroy();
  await until('the connections to the server behind are closed', () => closed === 5);
});
