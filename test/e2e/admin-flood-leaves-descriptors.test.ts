import { createConnection, type Socket } from 'node:net';
import t from 'tap';
import { codeOf, statusOf } from './admin-client.js';
import { startServer } from './server.js';
import { until } from './until.js';

const DESCRIPTORS = 128;
const CLIENTS = 200;

t.test(
  'slow clients of the admin listener do not prevent a reactor from being replaced',
  async (t) => {
    const server = await startServer(t, { descriptors: DESCRIPTORS });
    const [victim = 0] = server.reactorPids();
    const { hostname, port } = new URL(server.admin);
    let over = 0;
    const clients: Socket[] = [];
    for (let i = 0; i < CLIENTS; i++) {
      const client = createConnection({ host: hostname, port: Number(port) });
      client.resume().on('error', () => {});
      client.on('close', () => over++);
      client.on('connect', () => client.write('GET /liv'));
      clients.push(client);
    }
    t.teardown(() => {
      for (const client of clients) client.destroy();
    });
    await until('most of them are turned away', () => over > CLIENTS - DESCRIPTORS);

    process.kill(victim, 'SIGKILL');
    await server.logLine('the crash', (line) => line.msg === 'reactor crashed');
    t.equal((await fetch(server.url)).status, 200, 'by a new reactor');
    await until('all of them are gone', () => over === CLIENTS);
    t.equal(await codeOf(server, '/readyz'), 200);
    const { restarts } = await statusOf(server);
    t.match(restarts, { signal: 1, start: 0 }, 'which started at once');
    const odd = await fetch(`${server.admin}//`).then(({ status }) => status);
    t.equal(odd, 400, "a target that is none is the client's mistake");
    t.strictSame(await server.stop(), { code: 0, signal: null });
  },
);
