import {
  closeSync,
  ftruncateSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { memoryOf } from './process-usage.js';
import { connectRaw, requestText } from './raw-client.js';
import { type Server, startServer } from './server.js';
import { until } from './until.js';

const MIB = 1024 ** 2;

function makeRoot(t: Test): string {
  const root = mkdtempSync(join(tmpdir(), 'moonring-large-'));
  t.teardown(() => rmSync(root, { recursive: true }));
  writeFileSync(join(root, 'small'), 'small');
  return root;
}

/** A sparse file, which uses no disk space. */
function sparse(path: string, bytes: number): void {
  const fd = openSync(path, 'w');
  ftruncateSync(fd, bytes);
  closeSync(fd);
}

/** A client that has requested the file and reads only its first bytes. */
async function begin(t: Test, server: Server, path: string) {
  const client = await connectRaw(t, server);
  client.socket.pause();
  await client.send(requestText(path));
  client.socket.resume();
  await until('the first bytes', () => client.unread() > 0);
  client.socket.pause();
  return client;
}

async function small(t: Test, server: Server): Promise<string> {
  const client = await connectRaw(t, server);
  return (await client.request(requestText('/small'))).body.toString();
}

t.test('a reload and a drain do not interrupt transfers', async (t) => {
  const root = makeRoot(t);
  const size = 48 * MIB;
  sparse(join(root, 'file'), size);
  const server = await startServer(t, { command: ['serve', root] });
  const first = await begin(t, server, '/file');
  server.signal('SIGHUP');
  await server.logLine('the reload', ({ msg }) => msg === 'reloaded');
  const second = await begin(t, server, '/file');
  server.signal('SIGTERM');
  await server.logLine('the drain', ({ msg }) => msg === 'draining');
  for (const client of [first, second]) {
    client.socket.resume();
    t.equal((await client.next()).body.length, size);
  }
  t.strictSame(await server.exited, { code: 0, signal: null });
});

t.test('a client that never reads is closed and delays no other', async (t) => {
  const root = makeRoot(t);
  sparse(join(root, 'file'), 256 * MIB);
  const server = await startServer(t, {
    command: ['serve', root],
    args: ['--write-timeout', '1s'],
  });
  const client = await begin(t, server, '/file');
  t.equal(await small(t, server), 'small');
  await until('its connection is closed', async () => {
    const text = await (await fetch(`${server.admin}/metrics`)).text();
    return /^moonring_timeouts_total\{[^}]*write[^}]*\} [1-9]/m.test(text);
  });
  client.socket.destroy();
  t.equal(await small(t, server), 'small');
  t.strictSame(await server.stop(), { code: 0, signal: null });
});

t.test('4 GiB to a slow client use no memory', async (t) => {
  const root = makeRoot(t);
  const size = 4 * 1024 * MIB;
  sparse(join(root, 'file'), size);
  const server = await startServer(t, { command: ['serve', root] });
  const [pid = 0] = server.reactorPids();
  await small(t, server);
  const before = memoryOf(pid);
  const client = await connectRaw(t, server);
  let received = 0;
  client.socket.removeAllListeners('data');
  client.socket.on('data', (piece: Buffer) => {
    received += piece.length;
  });
  await client.send(requestText('/file'));
  let most = 0;
  await until('64 MiB have been received', () => {
    most = Math.max(most, memoryOf(pid) - before);
    return received > 64 * MIB;
  });
  t.ok(most < 8 * MIB, `${most} bytes more`);
  // The other end of the file: its size does not fit in 32 bits.
  const other = await connectRaw(t, server);
  const text = `GET /file HTTP/1.1\r\nHost: a\r\nRange: bytes=-1000\r\n\r\n`;
  const part = await other.request(text);
  t.equal(part.status, 206);
  t.match(part.head, `bytes ${size - 1000}-${size - 1}/${size}`);
  client.socket.destroy();
  t.strictSame(await server.stop(), { code: 0, signal: null });
});

t.test('a huge directory is listed in part', async (t) => {
  const root = makeRoot(t);
  mkdirSync(join(root, 'many'));
  for (let i = 0; i < 4100; i += 1) writeFileSync(join(root, 'many', `${i}.txt`), '');
  const server = await startServer(t, { command: ['serve', root] });
  const page = await (await fetch(`${server.url}/many/`)).text();
  t.match(page, 'Only 4096 entries are shown.');
  t.equal(page.match(/<tr>/g)?.length, 4097, 'with the one above');
  t.strictSame(await server.stop(), { code: 0, signal: null });
});
