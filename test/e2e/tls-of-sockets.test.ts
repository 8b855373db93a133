import { createServer as createPlainServer } from 'node:net';
import { createServer, TLSSocket } from 'node:tls';
import t, { type Test } from 'tap';
import { makeCertificate } from './certificate.js';
import { listenLocally } from './listening.js';
import { connectRaw, requestText } from './raw-client.js';
import { startServer } from './server.js';

/** A server of lines behind TLS whose certificate is for localhost, and the file of the latter. */
async function startTls(t: Test) {
  const { cert, options: own } = makeCertificate(t);
  const options = { ...own, ALPNProtocols: ['http/1.1'] };
  const server = createServer(options, (socket) => {
    socket.on('error', () => undefined);
    socket.on('data', (data) => socket.write(data));
  });
  server.on('tlsClientError', () => undefined);
  const port = await listenLocally(server);
  t.teardown(() => server.close());
  return { port, cert };
}

t.test('upstreams over TLS are verified and reused, with the OpenSSL of node', async (t) => {
  const upstream = await startTls(t);
  const server = await startServer(t, {
    app: 'sockets.lua',
    args: ['--dispatch', 'inline'],
    env: { MOONRING_TEST_TLS: String(upstream.port), MOONRING_TEST_CA: upstream.cert },
  });
  const client = await connectRaw(t, server);
  const ask = async (what: string) =>
    (await client.request(requestText(`/tls?${what}`))).body.toString();
  t.equal(await ask('verified'), 'secret http/1.1 0');
  t.equal(await ask('verified'), 'secret http/1.1 1');
  t.equal(await ask('name'), 'certificate: hostname mismatch');
  t.match(await ask('system'), /^certificate: self.signed certificate$/);
  t.equal(await ask('unverified'), 'secret nil 0');
  t.equal(await ask('verified'), 'secret http/1.1 2');
});

/** A server of lines that begins TLS after the first one, and may send a byte too many before. */
async function startUpgrading(t: Test) {
  const { cert, options } = makeCertificate(t);
  const server = createPlainServer((plain) => {
    plain.on('error', () => undefined);
    plain.once('data', (line) => {
      plain.write(line.toString() === 'early\n' ? 'ok\n+x' : 'ok\n');
      const secure = new TLSSocket(plain, { ...options, isServer: true });
      secure.on('error', () => undefined);
      secure.on('data', (data) => secure.write(data));
    });
  });
  const port = await listenLocally(server);
  t.teardown(() => server.close());
  return { port, cert };
}

for (const dispatch of ['inline', 'worker']) {
  t.test(
    `TLS begins on an open connection, before which nothing is unread: ${dispatch}`,
    async (t) => {
      const upstream = await startUpgrading(t);
      const server = await startServer(t, {
        app: 'sockets.lua',
        args: ['--dispatch', dispatch],
        env: { MOONRING_TEST_TLS: String(upstream.port), MOONRING_TEST_CA: upstream.cert },
      });
      const client = await connectRaw(t, server);
      const ask = async (what: string) =>
        (await client.request(requestText(`/starttls?${what}`))).body.toString();
      t.equal(await ask('begin'), 'ok\n secret 32 busy not kept');
      t.equal(await ask('name'), 'certificate: hostname mismatch, closed');
      t.equal(await ask('early'), 'TLS: unencrypted bytes before the handshake, closed');
      t.equal(await ask('begin'), 'ok\n secret 32 busy not kept');
    },
  );
}
