import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { createServer as createHttpsServer } from 'node:https';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { deflateRawSync, deflateSync, gzipSync } from 'node:zlib';
import t from 'tap';
import { makeCertificate } from './certificate.js';
import { order, rawUpstream, upstream } from './fetching.js';
import { startServer } from './server.js';
import { socketDirectory } from './socket-directory.js';

/*
 * moonring.http in a handler, with servers that behave: content both ways, connection reuse,
 * redirects, decoded content, Unix sockets.
 */

/** One thread, and therefore one pool. */
const INLINE = ['--dispatch', 'inline', '--threads', '0'];

t.test('requests arrive as they were made', async (t) => {
  const server = await startServer(t, { app: 'fetching.lua' });
  const { url } = await upstream(t, (request, response) => {
    const pieces: Buffer[] = [];
    request.on('data', (piece: Buffer) => pieces.push(piece));
    request.on('end', () => {
      const { method, url, headers } = request;
      response.setHeader('X-Seen', JSON.stringify({ method, url, headers }));
      response.end(Buffer.concat(pieces));
    });
  });
  const seen = async (options: object, more: object = {}) => {
    const outcome = await order(server, {
      url: `${url}/a%20b?c=d`,
      options: { ...options },
      ...more,
    });
    return { body: outcome.body, ...JSON.parse(outcome.headers?.['x-seen'] ?? '{}') };
  };
  const get = await seen({ headers: { 'X-A': 'b', Cookie: 'c=d' } });
  t.match(get, { body: '', method: 'GET', url: '/a%20b?c=d' });
  t.match(get.headers, {
    host: new URL(url).host,
    'user-agent': 'moonring',
    'x-a': 'b',
    cookie: 'c=d',
  });
  const post = await seen({ body: 'text' });
  t.match(post, { body: 'text', method: 'POST', headers: { 'content-length': '4' } });
  const chunked = await seen({ method: 'PUT' }, { pieces: ['one ', 'two'] });
  t.match(chunked, { body: 'one two', method: 'PUT', headers: { 'transfer-encoding': 'chunked' } });
  const long = 'x'.repeat(700_000);
  t.equal((await seen({ body: long })).body, long, 'longer than the buffers of the system');
  t.strictSame(await server.stop(), { code: 0, signal: null });
});

t.test('connections are reused', async (t) => {
  const server = await startServer(t, { app: 'fetching.lua', args: INLINE });
  const { url, connections } = await upstream(t, (request, response) => {
    request.resume();
    if (request.url === '/none') response.writeHead(204).end();
    else if (request.url === '/pieces') response.write('a', () => response.end('b'));
    else response.end('all');
  });
  for (let i = 0; i < 5; i += 1) {
    t.equal((await order(server, { url })).body, 'all');
    t.equal((await order(server, { url: `${url}/pieces` })).body, 'ab');
    t.equal((await order(server, { url: `${url}/none` })).status, 204);
    t.equal((await order(server, { url, options: { method: 'HEAD' } })).body, '');
    t.equal((await order(server, { url, options: { body: 'x' } })).body, 'all');
  }
  t.equal(connections(), 1);
  t.equal((await order(server, { url, options: { pool: false } })).body, 'all');
  t.equal(connections(), 2, 'but not without the pool');
  await order(server, { url: `${url}/pieces`, take: 'nothing' });
  t.equal((await order(server, { url })).body, 'all', 'after a response that was not read');
});

t.test('many requests at a time, each with its own response', async (t) => {
  const server = await startServer(t, { app: 'fetching.lua', processes: 2 });
  const { url } = await upstream(t, (request, response) => {
    request.resume();
    response.end(`for ${request.url}`);
  });
  await Promise.all(
    Array.from({ length: 200 }, async (_, i) => {
      t.equal((await order(server, { url: `${url}/${i}` })).body, `for /${i}`);
    }),
  );
});

t.test('long content streams both ways', async (t) => {
  const server = await startServer(t, { app: 'fetching.lua' });
  const piece = randomBytes(50_000).toString('base64');
  const times = 300;
  const { url } = await upstream(t, (request, response) => {
    if (request.url === '/echo') {
      request.pipe(response);
      return;
    }
    let size = 0;
    request.on('data', (data: Buffer) => {
      size += data.length;
    });
    request.on('end', () => response.end(String(size)));
  });
  const size = String(piece.length * times);
  t.equal((await order(server, { url, pieces: [piece], times })).body, size);
  t.equal(
    (await order(server, { url: `${url}/echo`, pieces: [piece], times, take: 'size' })).body,
    size,
    'while the server sends it back',
  );
  const tooLarge = await order(server, { url: `${url}/echo`, pieces: [piece], times });
  t.equal(tooLarge.error, 'response too large');
});

t.test('an early response is read while the request is being sent', async (t) => {
  const server = await startServer(t, { app: 'fetching.lua' });
  const { url } = await rawUpstream(t, (socket) => {
    socket.pause();
    socket.removeAllListeners('data');
    socket.write('HTTP/1.1 413 Too Large\r\nContent-Length: 2\r\n\r\nno');
  });
  const piece = 'x'.repeat(100_000);
  const outcome = await order(server, { url, pieces: [piece], times: 1000 });
  t.match(outcome, { status: 413, body: 'no' });
});

t.test('redirects', async (t) => {
  const server = await startServer(t, { app: 'fetching.lua' });
  const other = await upstream(t, (request, response) => {
    response.end(`other ${request.method} ${String(request.headers.authorization)}`);
  });
  const { url } = await upstream(t, (request, response) => {
    request.resume();
    if (request.url === '/a') response.writeHead(302, { Location: 'b?c' }).end('moved');
    else if (request.url === '/away') response.writeHead(303, { Location: other.url }).end();
    else if (request.url === '/loop') response.writeHead(307, { Location: '/loop' }).end();
    else response.end(`${request.method} ${request.url} ${String(request.headers.authorization)}`);
  });
  const options = { redirect: 3, headers: { Authorization: 'x' } };
  t.match(await order(server, { url: `${url}/a`, options }), {
    url: `${url}/b?c`,
    body: 'GET /b?c x',
  });
  t.match(await order(server, { url: `${url}/a` }), { status: 302, body: 'moved' });
  t.match(await order(server, { url: `${url}/away`, options: { ...options, body: 'y' } }), {
    body: 'other GET undefined',
  });
  t.match(await order(server, { url: `${url}/loop`, options }), { error: 'too many redirects' });
});

t.test('compressed content', async (t) => {
  const server = await startServer(t, { app: 'fetching.lua' });
  const text = 'some words, '.repeat(50_000);
  const zeros = Buffer.alloc(64 * 1024 * 1024);
  const contents: Record<string, readonly [string, Buffer]> = {
    '/gzip': ['gzip', gzipSync(text)],
    '/deflate': ['deflate', deflateSync(text)],
    '/raw': ['deflate', deflateRawSync(text)],
    '/bomb': ['gzip', gzipSync(zeros)],
    '/lie': ['gzip', Buffer.from(text)],
  };
  const { url } = await upstream(t, (request, response) => {
    const [coding, content] = contents[request.url ?? ''] ?? ['', Buffer.from('')];
    response.setHeader('Content-Encoding', coding);
    response.end(content);
  });
  const options = { decompress: true };
  for (const path of ['/gzip', '/deflate', '/raw']) {
    t.equal((await order(server, { url: url + path, options })).body, text, path);
  }
  const error = async (path: string, more: object = {}) =>
    (await order(server, { url: url + path, options: { ...options, ...more } })).error;
  t.equal(await error('/lie'), 'corrupt compressed content');
  t.equal(await error('/bomb'), 'compressed content inflates too much');
  t.equal(await error('/gzip', { max_body: 1000 }), 'response too large');
  t.equal(
    (await order(server, { url: `${url}/bomb`, options, take: 'size' })).error,
    'compressed content inflates too much',
  );
});

t.test('a Unix socket', async (t) => {
  const server = await startServer(t, { app: 'fetching.lua' });
  const path = join(socketDirectory(t), 'upstream');
  await upstream(
    t,
    (request, response) => response.end(`${request.headers.host}${request.url}`),
    path,
  );
  const outcome = await order(server, { url: 'http://docker/info', options: { unix: path } });
  t.equal(outcome.body, 'docker/info');
});

t.test('https', async (t) => {
  const { cert, options } = makeCertificate(t);
  const server = await startServer(t, { app: 'fetching.lua', args: INLINE });
  let connections = 0;
  const behind = createHttpsServer(
    { ...options, keepAlive: true, keepAliveTimeout: 0 },
    (request, response) => {
      const { socket } = request;
      if (request.url === '/cut' || request.url === '/ended') {
        socket.write('HTTP/1.1 200 OK\r\n\r\nsome content', () => {
          if (request.url === '/ended') socket.end();
          else (socket as unknown as { _handle: { close: () => void } })._handle.close();
        });
        return;
      }
      request.pipe(response);
    },
  );
  behind.on('secureConnection', () => {
    connections += 1;
  });
  behind.on('tlsClientError', () => {});
  behind.listen(0, 'localhost');
  await once(behind, 'listening');
  t.teardown(() => {
    behind.close();
    behind.closeAllConnections();
  });
  const { port } = behind.address() as AddressInfo;
  const url = `https://localhost:${port}/`;
  const trusting = { tls: { ca: cert }, body: 'secret' };
  const long = 'x'.repeat(500_000);
  t.equal((await order(server, { url, options: trusting })).body, 'secret');
  t.equal((await order(server, { url, options: { ...trusting, body: long } })).body, long);
  t.equal(connections, 1, 'the connection was used again');
  t.match((await order(server, { url })).error, /^certificate: self.signed certificate$/);
  const other = { tls: { ca: cert, sni: 'example.org' } };
  t.equal((await order(server, { url, options: other })).error, 'certificate: hostname mismatch');
  const careless = { ...trusting, tls: { verify: false } };
  t.equal((await order(server, { url, options: careless })).body, 'secret');
  const plain = { url: `http://localhost:${port}/` };
  t.ok((await order(server, plain)).error, 'without TLS');
  const tls = trusting.tls;
  const ended = await order(server, { url: `${url}ended`, options: { tls } });
  t.equal(ended.body, 'some content', 'content ends with the end of TLS');
  const cut = await order(server, { url: `${url}cut`, options: { tls } });
  t.equal(cut.body, undefined, 'and is incomplete where the connection ends without it');
  t.match(cut.error, /^TLS: |^truncated response$/);
});
