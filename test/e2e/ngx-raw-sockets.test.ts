import { once } from 'node:events';
import { readFileSync, writeFileSync } from 'node:fs';
import { createConnection, type Socket } from 'node:net';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { metricsOf } from './admin-client.js';
import { makeCertificate } from './certificate.js';
import { type Server, startServer, tlsPortOf } from './server.js';
import { until } from './until.js';
import { connect } from './websocket-client.js';

const APP = 'ngx-raw-socket.lua';
const COMPAT = ['--compat', 'ngx'];

interface Raw {
  readonly socket: Socket;
  readonly got: () => string;
  readonly isOver: () => boolean;
  readonly waitFor: (what: string) => Promise<void>;
}

/** Sends `bytes` and collects the response. */
async function raw(t: Test, server: Server, bytes: string): Promise<Raw> {
  const socket = createConnection({
    host: server.host,
    port: server.port,
    allowHalfOpen: true,
    noDelay: true,
  });
  t.teardown(() => socket.destroy());
  let got = '';
  let over = false;
  socket.on('error', () => undefined);
  socket.on('data', (data) => {
    got += data.toString('latin1');
  });
  socket.on('end', () => {
    over = true;
  });
  socket.on('close', () => {
    over = true;
  });
  await once(socket, 'connect');
  socket.write(bytes);
  return {
    socket,
    got: () => got,
    isOver: () => over,
    waitFor: async (what) => {
      await until(`${what} arrives`, () => got.includes(what));
    },
  };
}

const head = (target: string, fields = '') => `GET ${target} HTTP/1.1\r\nHost: a\r\n${fields}\r\n`;

/** Waits until the handlers have recorded `line`. */
async function ended(server: Server, line: string): Promise<void> {
  await until(`the end: ${line}`, async () => {
    const lines = (await (await fetch(`${server.url}/ended`)).text()).split('\n');
    return lines.includes(line);
  });
}

async function speakWebSocket(t: Test, server: Server): Promise<void> {
  const client = await connect(t, server, '/websocket', { protocols: ['chat'] });
  t.equal(client.socket.protocol, 'chat');
  client.send('text');
  client.send(Buffer.from('bytes'));
  t.strictSame(await client.nextMessage(), { text: 'text', isBinary: false });
  t.strictSame(await client.nextMessage(), { text: 'bytes', isBinary: true });
  for (const size of [126, 65_536, 1_000_000]) {
    client.send('x'.repeat(size));
    t.equal(await client.next(), 'x'.repeat(size));
  }
  client.socket.send('frag', { fin: false });
  client.socket.send('men', { fin: false });
  client.socket.ping('between');
  const [payload] = await once(client.socket, 'pong');
  t.equal(String(payload), 'between');
  client.socket.send('ts', { fin: true });
  t.equal(await client.next(), 'fragments');
  client.send('timeout');
  t.match(await client.next(), /failed to receive the first 2 bytes: timeout/);
  client.socket.close(4000, 'bye');
  t.strictSame(await client.closed, { code: 4000, reason: 'bye' });
}

/** The access log line of a request to `url`. */
const accessLine = async (server: Server, url: string) =>
  await server.logLine(`the line of ${url}`, (line) => {
    return 'res' in line && (line['req'] as { url?: string } | undefined)?.url === url;
  });

t.test('lua-nginx-websocket serves', { timeout: 120_000 }, async (t) => {
  const args = [...COMPAT, '--dispatch', 'inline', '--access-log', 'json'];
  const server = await startServer(t, { app: APP, args });
  await speakWebSocket(t, server);
  await ended(server, 'websocket close 4000 bye');
  const line = await accessLine(server, '/websocket');
  t.match(line, { res: { statusCode: 101 } });
  t.ok(Number(line['bytesOut']) > 1_065_662, 'with what was sent');

  const leaves = await connect(t, server, '/websocket');
  const fails = await connect(t, server, '/websocket');
  leaves.socket.terminate();
  await ended(server, 'websocket failed to receive the first 2 bytes: closed');
  fails.send('raise');
  t.equal((await fails.closed).code, 1006);
  await server.logLine('the error', ({ msg }) => /lua error.*as it was told/.test(msg));

  t.equal((await fetch(`${server.url}/websocket`)).status, 426);
  const name = 'moonring_responses_total{http_response_status_code="1xx"}';
  t.equal((await metricsOf(server)).get(name), 3, 'counted at their end');
});

t.test('the connection of a request as a cosocket', { timeout: 120_000 }, async (t) => {
  const args = [...COMPAT, '--dispatch', 'inline', '--access-log', 'json'];
  const server = await startServer(t, { app: APP, args });

  t.test('all calls, starting with bytes in the segment of the request', async (t) => {
    const client = await raw(t, server, `${head('/raw?name=ann')}abcline\r\nxone two three--end`);
    await client.waitFor('go 1true\n');
    client.socket.write('inclusive!part');
    await client.waitFor('GET\n');
    client.socket.end('the rest');
    await until('the end', client.isOver);
    t.equal(
      client.got(),
      'go 1true\nabc|line|x|one |two |thre|e|inclusive!|niltimeoutpart|duplicate call|' +
        'raw request socket acquired|raw request socket acquired|annGET\nthe rest|nilclosed\n',
    );
    await ended(server, 'raw closed closed');
  });

  t.test('after content in both directions', async (t) => {
    const client = await raw(
      t,
      server,
      'POST /body HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nbodyline\n',
    );
    await until('the end', client.isOver);
    t.match(client.got(), /^HTTP\/1.1 201 Created\r\n.*\r\n\r\n6\r\nframed\r\nraw body line$/s);
  });

  t.test('one thread receives, one sends', async (t) => {
    const client = await raw(t, server, head('/duplex'));
    for (let i = 0; i < 40; i++) client.socket.write('y'.repeat(100_000));
    await until('all of it', () => client.got().length === 4_000_000);
    client.socket.end();
    await ended(server, 'duplex true 4000000');
  });

  t.test('a client that reads nothing: send times out', async (t) => {
    const client = await raw(t, server, head('/flood'));
    client.socket.pause();
    await ended(server, 'flood timeout closed');
  });

  t.test('a client that disconnects: calls report it, other waits continue', async (t) => {
    for (const [name, query] of [
      ['reset', ''],
      ['told', '&on_abort=1'],
    ]) {
      const client = await raw(t, server, head(`/leave?name=${name}${query}`));
      await client.waitFor('go\n');
      client.socket.resetAndDestroy();
      await ended(server, `leave closed ${name}`);
      if (query !== '') await ended(server, 'on_abort');
    }
    const line = await accessLine(server, '/leave?name=reset');
    t.match(line, { res: { statusCode: 101 }, bytesOut: 3 });
  });

  t.test('it belongs to its request', async (t) => {
    const client = await raw(t, server, head('/keep'));
    await until('it is taken over', async () => {
      const text = await (await fetch(`${server.url}/steal`)).text();
      return text === 'false bad request\nfalse bad request\n';
    });
    await until('the end', client.isOver);
    t.equal(client.got(), '');
  });
});

t.test('on a worker thread there is no connection', async (t) => {
  const args = [...COMPAT, '--dispatch', 'worker', '--threads', '1'];
  const server = await startServer(t, { app: APP, args });
  const text = await (await fetch(`${server.url}/worker`)).text();
  t.match(text, /^nil not on a worker thread/);
  await speakWebSocket(t, server); // a request with an upgrade runs on the reactor
});

/** Content that arrives while the handler runs: it comes before the bytes for the handler. */
const STREAMING = `
require 'moonring.ngx'
stream_content = true

function handle()
  if ngx.var.arg_read then
    ngx.req.read_body()
  end
  local sock = assert(ngx.req.socket(true))
  local line = assert(sock:receive())
  sock:send(ngx.req.get_body_data() .. '|' .. line .. '|' .. assert(sock:receive(3)))
end
`;

t.test('after streamed content', async (t) => {
  const path = join(t.testdir({ 'app.lua': STREAMING }), 'app.lua');
  const server = await startServer(t, { app: path, args: ['--dispatch', 'inline'] });
  for (const query of ['', '?read=1']) {
    for (const framing of ['Content-Length: 5', 'Transfer-Encoding: chunked']) {
      const fields = `POST /${query} HTTP/1.1\r\nHost: a\r\n${framing}\r\n\r\n`;
      const client = await raw(t, server, fields);
      const content = framing.includes('chunked') ? '3\r\nbod\r\n2\r\ny1\r\n0\r\n\r\n' : 'body1';
      for (const byte of content) client.socket.write(byte);
      client.socket.write('own line\nand');
      await until('the end', client.isOver);
      t.equal(client.got(), 'body1|own line|and', `${framing} ${query}`);
    }
  }
});

t.test('reloads, drains, crashes and TLS', { timeout: 120_000 }, async (t) => {
  const app = readFileSync(join('test/e2e/apps', APP), 'utf8');
  const path = join(t.testdir({ 'app.lua': `VERSION = 'one'\n${app}` }), 'app.lua');
  const { cert, key } = makeCertificate(t);
  const tls = ['--tls-port', '0', '--tls-cert', cert, '--tls-key', key];
  const args = [...COMPAT, ...tls, '--drain-timeout', '8s'];
  const server = await startServer(t, { app: path, args });
  const url = `wss://localhost:${await tlsPortOf(server)}`;
  const [plain, secure] = [
    await connect(t, server, '/websocket'),
    await connect(t, server, '/websocket', { url }),
  ];
  const big = 'x'.repeat(300_000);
  secure.send(big);
  t.equal(await secure.next(), big);

  writeFileSync(path, `VERSION = 'two'\n${app}`);
  server.signal('SIGHUP');
  await server.logLine('the reload', ({ msg }) => msg === 'reloaded');
  for (const client of [plain, secure]) {
    client.send('echo');
    t.equal(await client.next(), 'echo', 'it goes on');
  }
  const newer = await connect(t, server, '/websocket');
  newer.send('version');
  t.equal(await newer.next(), 'two');
  plain.send('version');
  t.equal(await plain.next(), 'one', 'with the code that it began with');

  const [pid = 0] = server.reactorPids();
  process.kill(pid, 'SIGKILL');
  for (const { closed } of [plain, secure, newer]) t.equal((await closed).code, 1006);
  const record = await server.logLine('what became of them', (line) => 'handOverMs' in line);
  t.ok(Number((record['connections'] as { closed: number }).closed) >= 3, 'counted');

  const last = await connect(t, server, '/websocket');
  const open = await connect(t, server, '/websocket');
  server.signal('SIGTERM');
  last.send('while it drains');
  t.equal(await last.next(), 'while it drains');
  last.socket.close(1000);
  t.equal((await last.closed).code, 1000);
  t.equal((await open.closed).code, 1006, 'cut at the end of the drain');
  await server.exited;
});
