import { createConnection, type Socket } from 'node:net';
import t from 'tap';
import { codeOf } from './admin-client.js';
import { startServer } from './server.js';
import { until } from './until.js';

/** The connection limit of the admin listener. */
const CLIENTS = 32;
/** More responses than the kernel buffers, all read at once. */
const REQUESTS = 400;

t.test('admin clients that read no response do not block probes', async (t) => {
  const server = await startServer(t);
  const { hostname, port } = new URL(server.admin);
  const request = 'GET /metrics HTTP/1.1\r\nHost: admin\r\n\r\n';
  const clients: Socket[] = [];
  let written = 0;
  for (let i = 0; i < CLIENTS; i++) {
    const client = createConnection({ host: hostname, port: Number(port) });
    client.pause().on('error', () => {});
    client.on('connect', () => {
      client.write(request.repeat(REQUESTS));
      written++;
    });
    clients.push(client);
  }
  t.teardown(() => {
    for (const client of clients) client.destroy();
  });
  await until('all have asked', () => written === CLIENTS);
  const probe = () => codeOf(server, '/readyz').catch(() => 0);
  const code = await until('a probe gets through', async () => (await probe()) || undefined);
  t.equal(code, 200);
  t.strictSame(await server.stop(), { code: 0, signal: null });
});
