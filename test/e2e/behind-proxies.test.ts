import { join } from 'node:path';
import t, { type Test } from 'tap';
import { metricsOf } from './admin-client.js';
import { changingConfig } from './changing-config.js';
import { connectRaw, requestText } from './raw-client.js';
import { type Server, startServer } from './server.js';
import { socketDirectory } from './socket-directory.js';
import { until } from './until.js';

const REJECTED = 'moonring_connections_rejected_total{reason="proxy"}';
const SIGNATURE = Buffer.from('\r\n\r\n\0\r\nQUIT\n', 'latin1');
const V1 = 'PROXY TCP4 192.0.2.1 10.0.0.1 56324 443\r\n';
/** From 2001:db8::1. */
const V2 = Buffer.concat([
  SIGNATURE,
  Buffer.from('21210027', 'hex'),
  Buffer.from(`20010db8${'00'.repeat(11)}01${'00'.repeat(15)}010001000004`, 'hex'),
  Buffer.from('0000', 'hex'),
]);

async function ask(
  t: Test,
  to: { readonly host: string; readonly port: number } | { readonly path: string },
  headers: Readonly<Record<string, string>>,
): Promise<string> {
  const client = await connectRaw(t, to);
  const { body } = await client.request(requestText('/', { headers }));
  return body.toString();
}

t.test('the client is the last address that is not a trusted proxy', async (t) => {
  const uds = join(socketDirectory(t), 's.sock');
  const args = ['--uds', uds, '--trusted-proxy', '127.0.0.0/8', '--trusted-proxy', 'unix,::1'];
  const server = await startServer(t, { app: 'peer.lua', args });
  const fields = { 'X-Forwarded-For': '6.6.6.6, 192.0.2.1, 127.0.0.9', Forwarded: 'for=6.6.6.6' };
  t.equal(await ask(t, server, fields), '127.0.0.1 for 192.0.2.1');
  t.equal(await ask(t, { path: uds }, fields), ' for 192.0.2.1');
  t.equal(await ask(t, server, {}), '127.0.0.1 for 127.0.0.1');
});

t.test('Forwarded is used, and no field without trust', async (t) => {
  const fields = { 'X-Forwarded-For': '6.6.6.6', Forwarded: 'for="[2001:db8::1]:99";proto=https' };
  const args = ['--trusted-proxy', 'loopback', '--forwarded-field', 'forwarded'];
  const trusting = await startServer(t, { app: 'peer.lua', args });
  t.equal(await ask(t, trusting, fields), '127.0.0.1 for 2001:db8::1');
  const other = await startServer(t, { app: 'peer.lua' });
  t.equal(await ask(t, other, fields), '127.0.0.1 for 127.0.0.1');
});

t.test('a PROXY header names the peer, on every listener', async (t) => {
  const uds = join(socketDirectory(t), 's.sock');
  const server = await startServer(t, {
    app: 'peer.lua',
    args: ['--proxy-protocol', '--uds', uds],
  });
  const { host, port } = server;
  for (const to of [{ host, port }, { path: uds }]) {
    const one = await connectRaw(t, to);
    await one.send(...[...V1].slice(0, 8), V1.slice(8), requestText('/'));
    t.equal((await one.next()).body.toString(), '192.0.2.1 for 192.0.2.1');
    const two = await connectRaw(t, to);
    await two.send(V2.subarray(0, 20), V2.subarray(20), requestText('/'), requestText('/'));
    for (let i = 0; i < 2; i++) {
      t.equal((await two.next()).body.toString(), '2001:db8::1 for 2001:db8::1');
    }
  }
  t.equal((await fetch(`${server.admin}/readyz`)).status, 200, 'the admin listener takes none');
});

t.test('a connection without a PROXY header is closed and counted', async (t) => {
  const args = ['--proxy-protocol', '--log-level', 'debug'];
  const server = await startServer(t, { app: 'peer.lua', args });
  for (const text of [requestText('/'), 'PROXY TCP4 1.2.3.4\r\n', `${V1.slice(0, -2)}\n`]) {
    const client = await connectRaw(t, server);
    await client.send(text);
    await client.ended();
  }
  await rejected(server, 3);
  await server.logLine('a rejection', ({ msg }) =>
    msg.includes('connection from 127.0.0.1 closed: it does not begin with a valid PROXY header'),
  );
});

t.test('a PROXY header from a peer that is not trusted closes the connection', async (t) => {
  const args = ['--proxy-protocol', '--trusted-proxy', '10.0.0.0/8'];
  const server = await startServer(t, { app: 'peer.lua', args });
  const client = await connectRaw(t, server);
  await client.ended();
  await rejected(server, 1);
});

async function rejected(server: Server, count: number): Promise<void> {
  await until(
    `${count} connections are rejected`,
    async () => (await metricsOf(server)).get(REJECTED) === count,
  );
}

for (const accept of ['reuseport', 'boss']) {
  t.test(
    `a connection keeps its peer when its reactor is replaced, accept ${accept}`,
    async (t) => {
      const config = changingConfig(t.testdir());
      // The replacement of a reactor may take long on a busy machine.
      const patience = ['--header-timeout', '60s'];
      const args = ['--accept', accept, '--proxy-protocol', ...patience, ...config.args];
      const server = await startServer(t, { app: 'peer.lua', args });
      const idle = await connectRaw(t, server);
      await idle.send(V1);
      t.equal((await idle.request(requestText('/'))).body.toString(), '192.0.2.1 for 192.0.2.1');
      const halfway = await connectRaw(t, server);
      await halfway.send(V1.slice(0, 20));
      config.change();
      server.signal('SIGHUP');
      await server.logLine('the reload', ({ msg }) => msg === 'reloaded');
      t.equal((await idle.request(requestText('/'))).body.toString(), '192.0.2.1 for 192.0.2.1');
      await halfway.send(V1.slice(20));
      t.equal((await halfway.request(requestText('/'))).body.toString(), '192.0.2.1 for 192.0.2.1');
    },
  );
}
