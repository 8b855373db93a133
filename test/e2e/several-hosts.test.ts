import t from 'tap';
import { startServer } from './server.js';

const HOSTS = ['127.0.0.1', '127.0.0.2'];

for (const accept of ['reuseport', 'boss']) {
  t.test(`a server listens on several hosts (${accept})`, async (t) => {
    const hosts = HOSTS.flatMap((host) => ['--host', host]);
    const args = [...hosts, '--accept', accept];
    const server = await startServer(t, { app: 'pid.lua', processes: 2, args });
    const ready = await server.logLine('ready', ({ msg }) => msg === 'ready');
    const urls = HOSTS.map((host) => `http://${host}:${server.port}`);
    t.match(ready, { addresses: urls, app: /test\/e2e\/apps\/pid\.lua$/ });
    for (const url of urls) t.equal((await fetch(url)).status, 200, url);
    t.strictSame(await server.stop(), { code: 0, signal: null });
  });
}
