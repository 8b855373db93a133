import { execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { createConnection } from 'node:net';
import { promisify } from 'node:util';
import t, { type Test } from 'tap';
import { Agent, request } from 'undici';
import { descriptorsOf, noUsage } from './process-usage.js';
import { pythonWith } from './python-with.js';
import { connectRaw, requestText } from './raw-client.js';
import { resetConnection } from './reset-connection.js';
import { hasProgram, startServer } from './server.js';
import { until } from './until.js';

const ENDLESS = '/down?100000000';

const server = await start(t);
const { client, open, newEnds } = server;

async function start(t: Test, ...args: string[]) {
  const started = await startServer(t, {
    app: 'streams.lua',
    processes: 1,
    args: ['--dispatch', 'inline', ...args],
  });
  const { host, port } = started;
  const client = await connectRaw(t, started);
  let known = 0;

  /** How the handlers of the requests since the last call ended. */
  async function newEnds(count: number): Promise<string[]> {
    const all = await until('the handlers have ended', async () => {
      const text = (await client.request(requestText('/ended'))).body.toString();
      const ends = text === '' ? [] : text.split(', ');
      return ends.length >= known + count && ends;
    });
    const ends = all.slice(known);
    known = all.length;
    return ends;
  }

  async function open(text: string) {
    const socket = createConnection({ host, port });
    socket.on('error', () => {});
    await once(socket, 'connect');
    socket.write(text);
    return socket;
  }

  return { ...started, client, open, newEnds };
}

t.test('a client that resets its connection ends the wait of its handler', async (t) => {
  const socket = await open(requestText('/wait'));
  await client.request(requestText('/'));
  resetConnection(socket);
  t.strictSame(await newEnds(1), ['aborted']);
});

t.test('a handler can be notified instead', async (t) => {
  const socket = await open(requestText('/wait-told'));
  await client.request(requestText('/'));
  resetConnection(socket);
  t.strictSame(await newEnds(1), ['told']);
});

t.test('a client that disconnects while its handler writes', async (t) => {
  const socket = await open(requestText(ENDLESS));
  await once(socket, 'data');
  socket.destroy();
  t.strictSame(await newEnds(1), ['aborted']);
});

t.test('an upload that is aborted', async (t) => {
  const headers = { 'Content-Length': '1000000' };
  const socket = await open(requestText('/up', { method: 'PUT', headers }));
  socket.write('the beginning');
  await client.request(requestText('/'));
  resetConnection(socket);
  t.strictSame(await newEnds(1), ['aborted']);
});

// In servers of their own: the timeouts would also end clients of the other tests that the system
// lets wait.
t.test('a client that stops reading is closed after --write-timeout', async (t) => {
  const { open, newEnds } = await start(t, '--write-timeout', '500ms');
  const socket = await open(requestText(ENDLESS));
  socket.once('data', () => socket.pause());
  t.strictSame(await newEnds(1), ['aborted']);
  socket.destroy();
});

t.test('a client that stops sending is closed after --body-timeout', async (t) => {
  const { open, newEnds } = await start(t, '--body-timeout', '500ms');
  const headers = { 'Content-Length': '1000000' };
  const socket = await open(requestText('/up', { method: 'PUT', headers }));
  socket.write('the beginning');
  t.strictSame(await newEnds(1), ['aborted']);
  socket.destroy();
});

t.test('an aborted request of undici', async (t) => {
  const agent = new Agent();
  t.teardown(() => agent.close());
  const controller = new AbortController();
  const options = { dispatcher: agent, signal: controller.signal };
  const { body } = await request(`${server.url}${ENDLESS}`, options);
  let received = 0;
  await t.rejects(
    (async () => {
      for await (const piece of body) {
        received += piece.length;
        if (received > 1_000_000) controller.abort();
      }
    })(),
    { name: 'AbortError' },
  );
  t.strictSame(await newEnds(1), ['aborted']);
});

const noCurl = hasProgram('curl') ? false : 'curl is not installed';

t.test('a slow curl that is killed', { skip: noCurl }, async (t) => {
  const args = ['-sN', '--limit-rate', '1M', '-o', '-', `${server.url}${ENDLESS}`];
  const curl = spawn('curl', args, { stdio: ['ignore', 'pipe', 'ignore'] });
  await once(curl.stdout, 'data');
  curl.kill();
  await once(curl, 'exit');
  t.strictSame(await newEnds(1), ['aborted']);
});

/** Sends in chunks and reads the echo of each; then disconnects in the middle of a response. */
const PROGRAM = `
import h11, socket, sys
def connect():
    s = socket.create_connection((sys.argv[1], int(sys.argv[2])), timeout=30)
    return s, h11.Connection(our_role=h11.CLIENT)
def next_event(s, c):
    while True:
        event = c.next_event()
        if event is not h11.NEED_DATA:
            return event
        c.receive_data(s.recv(65536))
s, c = connect()
s.sendall(c.send(h11.Request(method="POST", target="/echo", headers=[("Host", "h"), ("Transfer-Encoding", "chunked")])))
got = b""
for piece in (b"one ", b"two ", b"three"):
    s.sendall(c.send(h11.Data(data=piece)))
    while len(got) < len(piece):
        event = next_event(s, c)
        if isinstance(event, h11.Data):
            got += bytes(event.data)
    print(got.decode())
    got = b""
s.sendall(c.send(h11.EndOfMessage()))
print(type(next_event(s, c)).__name__)
s, c = connect()
s.sendall(c.send(h11.Request(method="GET", target="${ENDLESS}", headers=[("Host", "h")])) + c.send(h11.EndOfMessage()))
while not isinstance(next_event(s, c), h11.Data):
    pass
s.close()
`;

const run = promisify(execFile);

const python = await pythonWith('h11');
const noH11 = python ? false : 'the h11 of Python is not installed';

t.test('h11 sends and receives at once, and disconnects', { skip: noH11 }, async (t) => {
  const { stdout } = await run(python ?? '', ['-c', PROGRAM, server.host, String(server.port)]);
  t.strictSame(stdout.split('\n'), ['one ', 'two ', 'three', 'EndOfMessage', '']);
  t.strictSame(await newEnds(1), ['aborted']);
});

t.test('a refusal during the upload is read by a client that is still sending', async (t) => {
  const sender = await connectRaw(t, server);
  const headers = { 'Content-Length': '1000000' };
  await sender.send(requestText('/refuse', { method: 'PUT', headers }));
  await sender.send(Buffer.alloc(500_000));
  const response = await sender.next('PUT');
  t.equal(response.status, 413);
  t.equal(response.body.toString(), 'too much');
});

t.test('no descriptors are leaked', { skip: noUsage }, async () => {
  const reactor = server.reactorPids()[0] ?? 0;
  const before = descriptorsOf(reactor);
  const sockets = await Promise.all(Array.from({ length: 20 }, () => open(requestText(ENDLESS))));
  await Promise.all(sockets.map((socket) => once(socket, 'data')));
  for (const socket of sockets) socket.destroy();
  await newEnds(sockets.length);
  await until('as many as before', () => descriptorsOf(reactor) <= before);
});
