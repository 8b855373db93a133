import { createSocket } from 'node:dgram';
import { readdirSync } from 'node:fs';
import t, { type Test } from 'tap';
import { connectRaw, requestText } from './raw-client.js';
import { resetConnection } from './reset-connection.js';
import { startServer } from './server.js';
import { until } from './until.js';
import { startUpstream } from './upstream.js';

async function start(t: Test, args: readonly string[] = ['--dispatch', 'inline']) {
  const upstream = await startUpstream(t);
  const server = await startServer(t, {
    app: 'sockets.lua',
    args,
    env: { MOONRING_TEST_UPSTREAM: String(upstream.port) },
  });
  const client = await connectRaw(t, server);
  const get = async (target: string) => client.request(requestText(target));
  const text = async (target: string) => (await get(target)).body.toString();
  const descriptors = () => {
    const [reactor] = server.reactorPids();
    return readdirSync(`/proc/${reactor}/fd`).length;
  };
  return { upstream, server, client, get, text, descriptors };
}

for (const dispatch of ['inline', 'worker'] as const) {
  t.test(`a request to an upstream, and reuse of its connection: ${dispatch}`, async (t) => {
    const { upstream, get, text } = await start(t, ['--dispatch', dispatch, '--threads', '1']);
    t.equal(await text('/ask?echo+one'), 'one');
    const second = await get('/ask?bytewise+two');
    t.equal(second.body.toString(), 'two');
    t.equal(second.headers.get('x-reused'), '1');
    t.equal(upstream.accepted(), 1);
    t.equal(await text('/both'), 'hello', 'one task receives while another sends');
  });

  t.test(`errors of upstreams have names: ${dispatch}`, async (t) => {
    const { text } = await start(t, ['--dispatch', dispatch, '--threads', '1']);
    t.equal(await text('/ask?drip+par'), 'timeout after "par"');
    t.equal(await text('/ask?half+par'), 'closed after "par"');
    t.equal(await text('/ask?die+par'), 'closed after "par"');
    t.equal(await text('/ask?silent'), 'timeout after ""');
    t.equal(await text('/refused'), 'refused');
    t.equal(await text('/unix'), 'refused');
    t.match(await text('/unknown'), /^(host not found|resolver failed)$/);
    t.equal(await text('/ask?echo+still'), 'still');
  });
}

t.test('datagrams are sent and received, in the reactor and on a worker', async (t) => {
  const udp = createSocket('udp4', (message, peer) => {
    if (message.toString() !== 'silence') udp.send(message, peer.port);
  });
  t.teardown(() => udp.close());
  await new Promise<void>((resolve) => udp.bind(0, '127.0.0.1', resolve));
  for (const dispatch of ['inline', 'worker']) {
    const server = await startServer(t, {
      app: 'sockets.lua',
      args: ['--dispatch', dispatch],
      env: { MOONRING_TEST_UDP: String(udp.address().port) },
    });
    const client = await connectRaw(t, server);
    const { body } = await client.request(requestText('/udp'));
    t.equal(body.toString(), 'datagr timeout refused closed');
  }
});

t.test('bytes of upstreams are not counted as bytes of clients', async (t) => {
  const { server, text } = await start(t);
  t.equal(await text('/bulk'), 'same');
  const counted = await until('the bytes are counted', async () => {
    const metrics = await (await fetch(`${server.admin}/metrics`)).text();
    return [...metrics.matchAll(/^moonring_\w+_bytes_total\b.* (\d+)$/gm)].map(([, bytes]) =>
      Number(bytes),
    );
  });
  t.ok(counted.length >= 2, 'received and sent');
  for (const bytes of counted) t.ok(bytes < 10_000, `${bytes} bytes`);
});

t.test('sockets close with their request', async (t) => {
  const { upstream, text } = await start(t);
  t.equal(await text('/forget'), 'held');
  await until('the connection is closed', () => upstream.open.size === 0);
});

t.test(
  'a socket that a task abandons is closed; closing a socket ends other waits on it',
  async (t) => {
    const { upstream, text } = await start(t);
    t.match(await text('/cancel'), /^nil \/ timeout.* \/ closed$/);
    t.equal(await text('/close'), 'busy closed');
    t.equal(await text('/full'), 'pool queue full 1');
    await until('no connection is left', () => upstream.open.size === 0);
  },
);

t.test('kept connections outlive a reload of the Lua code', async (t) => {
  const { upstream, server, text, get } = await start(t);
  t.equal(await text('/ask?echo+one'), 'one');
  server.signal('SIGHUP');
  await server.logLine('the reload', (line) => line.msg === 'reloaded');
  const second = await get('/ask?echo+two');
  t.equal(second.body.toString(), 'two');
  t.equal(second.headers.get('x-reused'), '1');
  t.equal(upstream.accepted(), 1);
});

t.test('using the socket of another request is an error that names both', async (t) => {
  const { text } = await start(t);
  t.equal(await text('/keep'), 'kept');
  t.match(
    await text('/steal'),
    /socket:send: this socket belongs to request \d+, not to request \d+/,
  );
});

t.test('errors of calls name the line and the mistake', async (t) => {
  const { text } = await start(t);
  const lines = (await text('/mistakes')).split('\n');
  t.equal(lines.length, 10);
  t.match(lines[0], 'takes a table of options');
  t.match(lines[1], 'host and port, or path, are missing');
  t.match(lines[2], 'port is a number from 1 to 65535, not 0');
  t.match(lines[3], /:\d+: socket\.connect: \S.* no member "prot": did you mean "port"\?/);
  t.match(lines[4], 'pool has no member "sise": did you mean "size"?');
  t.match(lines[5], 'timeout: seconds are a number');
  t.match(lines[6], "'line', 'any'");
  t.match(lines[7], 'a number of bytes is whole');
  t.match(lines[8], 'element 2 of the table is a boolean');
  t.match(lines[9], 'methods are called with a colon');
});

t.test('clients that disconnect while an upstream is silent leave nothing open', async (t) => {
  const { upstream, server, text, descriptors } = await start(t);
  t.equal(await text('/ask?echo+warm'), 'warm');
  const before = descriptors();
  const clients = await Promise.all(Array.from({ length: 20 }, () => connectRaw(t, server)));
  await Promise.all(clients.map((client) => client.send(requestText('/hang'))));
  await until('all wait', () => upstream.open.size === 21);
  for (const client of clients) resetConnection(client.socket);
  await until('the upstream connections are closed', () => upstream.open.size <= 1);
  await until('no descriptor is left', () => descriptors() <= before);
  t.equal(await text('/ask?echo+after'), 'after');
});

t.test(
  'an upstream that dies under many requests fails each of them and leaks nothing',
  async (t) => {
    const { upstream, server, text, descriptors } = await start(t);
    t.equal(await text('/ask?echo+warm'), 'warm');
    const before = descriptors();
    const clients = await Promise.all(Array.from({ length: 20 }, () => connectRaw(t, server)));
    await Promise.all(clients.map((client) => client.send(requestText('/hang'))));
    await until('all wait', () => upstream.open.size === 21);
    upstream.dropAll();
    for (const client of clients) t.equal((await client.next()).body.toString(), 'nothing');
    for (const client of clients) client.socket.destroy();
    await until('no descriptor is left', () => descriptors() <= before);
  },
);
