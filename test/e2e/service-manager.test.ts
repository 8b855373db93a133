import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import t from 'tap';
import { loadNative } from '../../src/shared/native.js';
import { packageRoot } from '../../src/shared/package-info.js';
import { getOverSocket } from './admin-client.js';
import { hasProgram, startServer } from './server.js';
import { socketDirectory } from './socket-directory.js';

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

t.test('variables meant for another process are not ours', async (t) => {
  const server = await startServer(t, { env: { LISTEN_FDS: '1', LISTEN_PID: '1' } });
  t.equal((await fetch(server.url)).status, 200);
});

const skip = hasProgram('python3') ? false : 'python3 is not installed';

t.test('READY=1 and STOPPING=1 on NOTIFY_SOCKET', { skip }, async (t) => {
  const path = join(socketDirectory(t), 'notify');
  const script = `import socket, sys
s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
s.bind(sys.argv[1])
print('bound', flush=True)
while True: print(s.recv(100).decode(), flush=True)`;
  const manager = spawn('python3', ['-c', script, path], { stdio: ['ignore', 'pipe', 'inherit'] });
  t.teardown(() => manager.kill('SIGKILL'));
  let heard = '';
  manager.stdout.setEncoding('utf8').on('data', (chunk: string) => (heard += chunk));
  await once(manager.stdout, 'data');
  const server = await startServer(t, { env: { NOTIFY_SOCKET: path } });
  t.strictSame(await server.stop(), { code: 0, signal: null });
  if (!heard.includes('STOPPING')) await once(manager.stdout, 'data');
  t.equal(heard, 'bound\nREADY=1\nSTOPPING=1\n');
});

t.test("'ready' over IPC", async (t) => {
  const server = await startServer(t, { ipc: true });
  t.equal(await server.firstMessage, 'ready');
});
