import { execFileSync } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync, renameSync, writeFileSync } from 'node:fs';
import { Agent, type RequestOptions, request } from 'node:https';
import { join } from 'node:path';
import { monitorEventLoopDelay } from 'node:perf_hooks';
import { type ConnectionOptions, connect, type TLSSocket } from 'node:tls';
import t, { type Test } from 'tap';
import { type CertificateFiles, writeCertificate } from './certificate.js';
import { changingConfig } from './changing-config.js';
import { runMaster, type Server, startServer, tlsPortOf } from './server.js';
import { until, within } from './until.js';

/** Files for `name`; `serial` in hexadecimal. Existing files are replaced at once. */
function makePair(directory: string, name: string, serial: string): CertificateFiles {
  const [cert, key] = [join(directory, `${name}.pem`), join(directory, `${name}.key`)];
  const next = { cert: `${cert}.new`, key: `${key}.new` };
  const more = ['-days', '30', '-set_serial', `0x${serial}`];
  writeCertificate(next, name, 'DNS:localhost,DNS:*.test', ...more);
  renameSync(next.cert, cert);
  renameSync(next.key, key);
  return { cert, key };
}

async function start(
  t: Test,
  { cert, key }: CertificateFiles,
  args: readonly string[] = [],
  processes = 2,
) {
  const tls = ['--tls-port', '0', '--tls-cert', cert, '--tls-key', key];
  const server = await startServer(t, { app: 'tls.lua', processes, args: [...tls, ...args] });
  return { server, port: await tlsPortOf(server) };
}

interface Answer {
  readonly status: number;
  readonly headers: Readonly<Record<string, string | string[] | undefined>>;
  readonly body: string;
  readonly serial: string;
  readonly isResumed: boolean;
}

function ask(
  port: number,
  options: RequestOptions & { session?: Buffer } = {},
  body = '',
): Promise<Answer> {
  const all: RequestOptions = {
    host: '127.0.0.1',
    port,
    servername: 'localhost',
    rejectUnauthorized: false,
    ...options,
  };
  return new Promise((resolve, reject) => {
    const asked = request(all, (response) => {
      const socket = response.socket as TLSSocket;
      const serial = socket.getPeerCertificate().serialNumber;
      const isResumed = socket.isSessionReused();
      let text = '';
      response.setEncoding('latin1').on('data', (chunk: string) => (text += chunk));
      response.on('error', reject);
      response.on('end', () =>
        resolve({
          status: response.statusCode ?? 0,
          headers: response.headers,
          body: text,
          serial,
          isResumed,
        }),
      );
    });
    asked.on('error', reject).end(body);
  });
}

async function reload(server: Server, generation: number) {
  server.signal('SIGHUP');
  return server.logLine(
    `generation ${generation}`,
    (each) =>
      (each.msg === 'reloaded' && each['generation'] === generation) ||
      each.msg.startsWith('reload rejected'),
  );
}

t.test('a request over TLS, and its properties in a handler', async (t) => {
  const pair = makePair(t.testdir(), 'first', '0a01');
  const { server, port } = await start(t, pair, ['--tls-hsts', '17520h', '--tls-redirect']);
  const answer = await ask(port, { path: '/a?b=c' });
  t.equal(answer.status, 200);
  t.match(JSON.parse(answer.body), {
    scheme: 'https',
    tls: { version: 'TLSv1.3', cipher: /^TLS_/, server_name: 'localhost', resumed: false },
    target: '/a?b=c',
  });
  t.equal(answer.headers['strict-transport-security'], 'max-age=63072000');
  t.equal((await ask(port, { path: '/large' })).body.length, 1024 * 1024);
  const sent = await ask(port, { method: 'POST' }, 'x'.repeat(700_000));
  t.equal(JSON.parse(sent.body).length, 700_000);

  const plain = await fetch(`${server.url}/x?y`, { redirect: 'manual' });
  t.equal(plain.status, 308);
  t.equal(plain.headers.get('location'), `https://127.0.0.1:${port}/x?y`);
  t.equal(plain.headers.get('strict-transport-security'), null);
  const challenge = await fetch(`${server.url}/.well-known/acme-challenge/token`);
  t.match(await challenge.json(), { scheme: 'http', tls: null });

  const status = await (await fetch(`${server.admin}/status`)).json();
  t.match(status, { tls: { port, certificates: [{ path: pair.cert, serial: '0a01' }] } });
  const metrics = await (await fetch(`${server.admin}/metrics`)).text();
  t.match(metrics, /moonring_tls_handshakes_total\{outcome="full"\} [1-9]/);
  t.match(
    metrics,
    /moonring_tls_certificate_expiry_timestamp_seconds\{path=".*",serial="0a01"\} \d+/,
  );
  t.strictSame(await server.stop(), { code: 0, signal: null });
});

t.test('clients with a certificate', async (t) => {
  const directory = t.testdir();
  const pair = makePair(directory, 'server', '0b');
  const own = makePair(directory, 'alice', '0c');
  const { port } = await start(t, pair, ['--tls-client-ca', own.cert]);
  const shown = { cert: readFileSync(own.cert), key: readFileSync(own.key) };
  const answer = await ask(port, shown);
  t.match(JSON.parse(answer.body), {
    tls: {
      client: {
        subject: 'CN=alice',
        issuer: 'CN=alice',
        serial: '0c',
        fingerprint: /^[0-9a-f]{64}$/,
      },
    },
  });
  await t.rejects(ask(port), 'one without is refused');
  const other = { cert: readFileSync(pair.cert), key: readFileSync(pair.key) };
  await t.rejects(ask(port, other), 'as is one of another authority');

  const may = ['--tls-client-ca', own.cert, '--tls-client-cert', 'optional'];
  const optional = await start(t, pair, may, 1);
  const anonymous = JSON.parse((await ask(optional.port, { agent: false })).body);
  t.ok(anonymous.tls.version);
  t.equal(anonymous.tls.client, undefined);
  t.match(JSON.parse((await ask(optional.port, shown)).body), {
    tls: { client: { serial: '0c' } },
  });
  await t.rejects(ask(optional.port, other), 'one of another authority is refused all the same');
});

t.test('an OCSP response is stapled', async (t) => {
  const directory = t.testdir();
  const pair = makePair(directory, 'a', '01');
  const [index, response] = [join(directory, 'index.txt'), join(directory, 'response.der')];
  writeFileSync(index, 'V\t300101000000Z\t\t01\tunknown\t/CN=a\n');
  const about = ['-issuer', pair.cert, '-cert', pair.cert, '-CA', pair.cert];
  const by = ['-index', index, '-rsigner', pair.cert, '-rkey', pair.key, '-ndays', '2'];
  execFileSync('openssl', ['ocsp', ...about, ...by, '-respout', response], { stdio: 'ignore' });
  const { port } = await start(t, pair, ['--tls-ocsp', response], 1);
  const asks = { port, servername: 'localhost', requestOCSP: true };
  const socket = connect({ host: '127.0.0.1', rejectUnauthorized: false, ...asks });
  t.teardown(() => socket.destroy());
  const [stapled] = await within('the response', once(socket, 'OCSPResponse'));
  t.ok(readFileSync(response).equals(stapled));
});

t.test('a session resumes on every reactor', async (t) => {
  const { port } = await start(t, makePair(t.testdir(), 'a', '01'), [], 4);
  const options: ConnectionOptions = { host: '127.0.0.1', port, rejectUnauthorized: false };
  const session = await new Promise<Buffer>((resolve, reject) => {
    const socket = connect(options).on('error', reject);
    socket.once('session', (ticket: Buffer) => {
      resolve(ticket);
      socket.destroy();
    });
    socket.write('GET / HTTP/1.1\r\nHost: a\r\n\r\n');
  });
  let resumed = 0;
  for (let i = 0; i < 40; i++) {
    const answer = await ask(port, { session, agent: false });
    resumed += Number(answer.isResumed);
  }
  t.equal(resumed, 40);
});

t.test('certificates are replaced under load without errors', async (t) => {
  const directory = t.testdir();
  const { server, port } = await start(t, makePair(directory, 'a', '0100'));
  const agent = new Agent({ keepAlive: true, maxSockets: 4 });
  const failures: unknown[] = [];
  let answered = 0;
  let isOver = false;
  const clients = [agent, agent, agent, false as const].map(async (each) => {
    while (!isOver) {
      await ask(port, { agent: each }).then(
        () => answered++,
        (error: unknown) => failures.push(error),
      );
    }
  });
  for (let i = 1; i <= 20; i++) {
    const serial = `01${i.toString(16).padStart(2, '0')}`.toUpperCase();
    makePair(directory, 'a', serial);
    t.match(await reload(server, i + 1), { msg: 'reloaded', replaced: 'states' });
    let served = '';
    for (let tries = 0; tries < 50 && served !== serial; tries++) {
      served = (await ask(port, { agent: false })).serial;
    }
    t.equal(served, serial, `certificate ${i}`);
  }
  await until('a hundred responses', () => answered > 100 || failures.length > 0);
  isOver = true;
  await Promise.all(clients);
  agent.destroy();
  t.strictSame(failures, []);
});

t.test('unusable certificates are rejected, and change nothing', async (t) => {
  const directory = t.testdir();
  const pair = makePair(directory, 'a', '01');
  const { server, port } = await start(t, pair);
  writeFileSync(pair.key, 'not a key');
  t.match(await reload(server, 2), { reason: /a\.key holds no private key in PEM$/ });
  t.equal((await ask(port, { agent: false })).serial, '01');
});

t.test('a chain that only a reactor would find invalid is rejected too', async (t) => {
  const pair = makePair(t.testdir(), 'a', '01');
  const { server, port } = await start(t, pair);
  const chain = readFileSync(pair.cert, 'utf8');
  writeFileSync(pair.cert, `${chain}${chain.slice(0, -100)}`);
  const reason = /^cannot use .*a\.pem.* for TLS: certificate 1/;
  t.match(await reload(server, 2), { reason });
  t.equal((await ask(port, { agent: false })).serial, '01');
});

t.test('at the start it is a configuration error', async (t) => {
  const directory = t.testdir();
  const pair = makePair(directory, 'a', '01');
  const other = makePair(directory, 'b', '02');
  const cases: [readonly string[], RegExp][] = [
    [['--tls-cert', pair.cert], /each certificate needs its key/],
    [['--tls-key', pair.key], /--tls-key has no effect without --tls-cert/],
    [['--tls-redirect'], /--tls-redirect has no effect without --tls-cert/],
    [['--tls-cert', pair.cert, '--tls-key', other.key], /b\.key is not the key of .*a\.pem/],
    [['--tls-cert', '/nonexistent', '--tls-key', other.key], /\/nonexistent cannot be read/],
    [['--tls-cert', pair.key, '--tls-key', pair.key], /a\.key holds no certificate/],
  ];
  for (const [args, expected] of cases) {
    const { code, stderr } = await runMaster([...args, '--port', '0']);
    t.equal(code, 78, args.join(' '));
    t.match(stderr, expected);
  }
});

/** An idle connection of a reactor that is replaced stays open for half a second. */
const PAUSE_MS = 300;
const TRIES = 10;

t.test('a reactor that is replaced makes its TLS clients reconnect', async (t) => {
  const directory = t.testdir();
  const pair = makePair(directory, 'a', '01');
  const config = changingConfig(directory);
  const { server, port } = await start(t, pair, config.args);
  let generation = 1;
  /** The errors of clients that never pause, while the reactors are replaced three times. */
  const replace = async () => {
    const agent = new Agent({ keepAlive: true, maxSockets: 8 });
    const failures: unknown[] = [];
    let isOver = false;
    const clients = Array.from({ length: 8 }, async () => {
      while (!isOver) {
        await ask(port, { agent }).catch((error: unknown) => failures.push(error));
      }
    });
    for (let i = 0; i < 3; i++) {
      config.change();
      generation += 1;
      t.match(await reload(server, generation), { msg: 'reloaded', replaced: 'processes' });
    }
    isOver = true;
    await Promise.all(clients);
    agent.destroy();
    return failures;
  };
  const pauses = monitorEventLoopDelay({ resolution: 10 });
  pauses.enable();
  t.teardown(() => pauses.disable());
  for (let tries = 1; ; tries++) {
    pauses.reset();
    const failures = await replace();
    const pauseMs = pauses.max / 1e6;
    if (failures.length === 0 || pauseMs < PAUSE_MS || tries === TRIES) {
      t.strictSame(failures, []);
      break;
    }
    t.comment(`${failures.length} failures: a busy machine stopped the clients for ${pauseMs} ms`);
  }
});

t.test('handshakes of an address beyond its limit are refused', async (t) => {
  const pair = makePair(t.testdir(), 'a', '01');
  const { server, port } = await start(t, pair, ['--tls-handshakes', '1'], 1);
  t.equal((await ask(port, { agent: false })).status, 200);
  const all = await Promise.allSettled(
    Array.from({ length: 30 }, () => ask(port, { agent: false })),
  );
  const refused = all.filter(({ status }) => status === 'rejected').length;
  t.ok(refused > 0, `${refused} of 30 refused`);
  const metrics = await (await fetch(`${server.admin}/metrics`)).text();
  t.match(metrics, `moonring_connections_rejected_total{reason="handshakes"} ${refused}`);
});
