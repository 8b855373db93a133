import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { chmodSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { loadNative } from '../../src/shared/native.js';
import { packageRoot } from '../../src/shared/package-info.js';
import { getOverSocket } from './admin-client.js';
import { cleanEnvironment, hasProgram, startServer } from './server.js';
import { socketDirectory } from './socket-directory.js';
import { PATIENCE_MS, until } from './until.js';

const native = loadNative(packageRoot, process.env['MOONRING_ADDON']);

for (const count of [1, 2, 4]) {
  for (const accept of ['reuseport', 'boss']) {
    t.test(`${count} sockets from LISTEN_FDS, accept ${accept}`, async (t) => {
      const path = join(socketDirectory(t), 'a.sock');
      const fds: number[] = [];
      const urls: string[] = [];
      for (let i = 0; i < count - 1; i++) {
        const tcp = native.openTcpListeners({ host: '127.0.0.1', port: 0, backlog: 16, count: 1 });
        fds.push(...tcp.fds);
        urls.push(`http://127.0.0.1:${tcp.port}/`);
      }
      fds.push(native.openUnixListener({ path, mode: 0o600, backlog: 16 }));
      const args = ['--accept', accept];
      const server = await startServer(t, { processes: 2, args, listenFds: fds });
      for (const fd of fds) native.closeDescriptor(fd);
      for (const url of urls) t.equal((await fetch(url)).status, 200, url);
      t.equal((await getOverSocket(path, '/')).status, 200);
      t.strictSame(await server.stop(), { code: 0, signal: null });
    });
  }
}

t.test('variables for another process are ignored', async (t) => {
  const server = await startServer(t, { env: { LISTEN_FDS: '1', LISTEN_PID: '1' } });
  t.equal((await fetch(server.url)).status, 200);
});

const skip = hasProgram('python3') ? false : 'python3 is not installed';

t.test('NOTIFY_SOCKET receives each state, and WATCHDOG=1 in between', { skip }, async (t) => {
  const path = join(socketDirectory(t), 'notify');
  const script = `import socket, sys
s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
s.bind(sys.argv[1])
print('bound', flush=True)
while True: print(s.recv(100).decode().replace('\\n', ' '), flush=True)`;
  const manager = spawn('python3', ['-c', script, path], { stdio: ['ignore', 'pipe', 'inherit'] });
  t.teardown(() => manager.kill('SIGKILL'));
  let heard = '';
  manager.stdout.setEncoding('utf8').on('data', (chunk: string) => (heard += chunk));
  const states = () => heard.split('\n').filter((line) => line !== 'WATCHDOG=1' && line !== '');
  await until('the socket', () => heard !== '');
  const env = { NOTIFY_SOCKET: path, WATCHDOG_USEC: '2000000' };
  const server = await startServer(t, { env });
  await until('two beats', () => heard.split('WATCHDOG=1').length > 2);
  server.signal('SIGHUP');
  await until('ready again', () => states().length === 4);
  t.strictSame(await server.stop(), { code: 0, signal: null });
  await until('the end', () => states().length === 5);
  const [time = ''] = /\d+$/.exec(states()[2] ?? '') ?? [];
  t.ok(Math.abs(Number(time) / 1000 - native.monotonicMs()) < 2 * PATIENCE_MS, 'microseconds');
  t.strictSame(states(), [
    ...['bound', 'READY=1', `RELOADING=1 MONOTONIC_USEC=${time}`, 'READY=1', 'STOPPING=1'],
  ]);
});

const systemd = hasProgram('systemd-socket-activate') ? false : 'no systemd-socket-activate';

for (const count of [1, 2, 4]) {
  t.test(`${count} sockets of systemd-socket-activate`, { skip: systemd }, async (t) => {
    const directory = socketDirectory(t);
    const paths = Array.from({ length: count }, (_, i) => join(directory, `${i}.sock`));
    const names = paths.map((_, i) => (i === 3 ? 'admin' : 'http')).join(':');
    const master = [process.execPath, 'dist/master.js', '--processes', '1', '--admin', 'off'];
    const args = [...paths.flatMap((path) => ['-l', path]), `--fdname=${names}`, ...master];
    const passed = ['PATH', 'MOONRING_ADDON'].flatMap((name) => ['-E', name]);
    // It becomes the server at the first connection.
    const child = spawn('systemd-socket-activate', [...passed, ...args], {
      env: cleanEnvironment(),
    });
    const ended = once(child, 'exit');
    t.teardown(() => child.kill('SIGKILL'));
    let text = '';
    for (const stream of [child.stdout, child.stderr]) {
      stream.setEncoding('utf8').on('data', (chunk: string) => (text += chunk));
    }
    await until('the sockets', () => paths.every((path) => text.includes(`Listening on ${path} `)));
    // As created with SocketMode=0600.
    for (const path of paths) chmodSync(path, 0o600);
    for (const [i, path] of paths.entries()) {
      const { status } = await getOverSocket(path, i === 3 ? '/readyz' : '/');
      t.equal(status, 200, path);
    }
    if (count === 4) {
      const { status } = await getOverSocket(paths[3] ?? '', '/drain', 'POST');
      t.equal(status, 202, 'the admin socket takes orders');
    } else child.kill('SIGTERM');
    t.strictSame(await ended, [0, null], text);
  });
}

t.test("'ready' over IPC", async (t) => {
  const server = await startServer(t, { ipc: true });
  t.equal(await server.firstMessage, 'ready');
});
