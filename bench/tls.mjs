// CPU time per request over TLS: Moonring and Debian's nginx, in turns, each with one process, one
// certificate (ECDSA) and the same cipher. `handshakes`: a new connection for each request, with a
// full handshake. `resumed`: the share of new connections to four reactors that resume a session.
// `idle`: memory per idle connection, after one response.
//
//   node bench/tls.mjs [--work hello,handshakes,1m,resumed,idle] [--rounds 5] [--seconds 2]
//     [--connections 64] [--idle 2000] [--json]
import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { connect } from 'node:tls';
import {
  BENCH,
  choose,
  readOptions,
  requirePrograms,
  runMain,
  spread,
  summarise,
} from './lib/command.mjs';
import { openIdle } from './lib/idle-connections.mjs';
import { measureWrk, mustBeValid, runWrk } from './lib/load.mjs';
import { memoryOf, processTree } from './lib/processes.mjs';
import { startMoonring, startNginx } from './lib/servers.mjs';

const { values } = readOptions({
  work: '',
  rounds: '5',
  seconds: '2',
  connections: '64',
  idle: '2000',
});

const WORKS = {
  hello: {},
  handshakes: { fields: ['Connection: close'] },
  '1m': { path: '/large', responseBytes: 1024 ** 2, connections: 16 },
};
/** Works that do not measure CPU time under load. */
const OTHERS = { resumed: measureResumed, idle: measureIdle };

function makeCertificate(directory) {
  const [cert, key] = [join(directory, 'cert.pem'), join(directory, 'key.pem')];
  execFileSync(
    'openssl',
    [
      ...['req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes'],
      ...['-keyout', key, '-out', cert, '-days', '2', '-subj', '/CN=localhost'],
    ],
    { stdio: 'ignore' },
  );
  return { cert, key };
}

const nginxOf =
  (root, { cert, key }) =>
  (port) =>
    `
  ssl_certificate ${cert};
  ssl_certificate_key ${key};
  ssl_protocols TLSv1.2 TLSv1.3;
  ssl_conf_command Ciphersuites TLS_AES_128_GCM_SHA256;
  ssl_session_cache off;
  keepalive_timeout 10m;
  default_type text/plain;
  server {
    listen 127.0.0.1:${port} ssl reuseport;
    location = /large { root ${root}; }
    location / { return 200 "hello, world\\n"; }
  }`;

const settle = () => delay(3000);

/** Resident bytes of the process that has the connections: the one that grows most. */
async function measureIdle(servers) {
  const count = Number(values.idle);
  const rows = [];
  for (const { name, server } of servers) {
    const memories = () => new Map(processTree(server.pid).map((pid) => [pid, memoryOf(pid)]));
    await settle();
    const before = memories();
    const idle = await openIdle(server.port, count, { tls: true });
    await settle();
    const grown = [...memories()].map(
      ([pid, { resident }]) => resident - (before.get(pid)?.resident ?? resident),
    );
    await idle.close();
    rows.push({ name, bytes: Math.max(...grown) / count });
  }
  for (const { name, bytes } of rows)
    if (!values.json)
      console.log(`idle       ${name.padEnd(10)}${bytes.toFixed(0).padStart(8)} bytes`);
  return rows;
}

/** One request on a new connection: [was resumed, the ticket for the next one]. */
function askWith(port, session) {
  return new Promise((resolve, reject) => {
    let ticket = session;
    const options = { host: '127.0.0.1', port, session, rejectUnauthorized: false };
    const socket = connect(options).on('error', reject).resume();
    socket.on('session', (next) => {
      ticket = next;
    });
    socket.on('end', () => resolve([socket.isSessionReused(), ticket]));
    socket.write('GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n');
  });
}

async function measureResumed(_servers, app, options) {
  const total = 2000;
  const server = await startMoonring(app, { options, tls: true, processes: 4, cores: 'all' });
  let resumed = 0;
  try {
    let [, session] = await askWith(server.port);
    for (let i = 0; i < total; i += 1) {
      const [isResumed, next] = await askWith(server.port, session);
      resumed += Number(isResumed);
      session = next;
    }
  } finally {
    await server.stop();
  }
  if (!values.json) console.log(`resumed    ${resumed} of ${total} on 4 reactors`);
  return [{ name: 'moonring', resumed, total }];
}

await runMain(async () => {
  requirePrograms('wrk', 'nginx', 'openssl');
  const directory = mkdtempSync(join(tmpdir(), 'moonring-bench-tls-'));
  writeFileSync(join(directory, 'large'), 'x'.repeat(1024 ** 2));
  const { cert, key } = makeCertificate(directory);
  const pair = ['--tls-port', '0', '--tls-cert', cert, '--tls-key', key];
  const options = [...pair, '--keepalive-timeout', '10m'];
  const servers = [];
  try {
    const app = join(BENCH, 'apps/workloads.lua');
    servers.push({ name: 'nginx', server: await startNginx(nginxOf(directory, { cert, key })) });
    servers.push({ name: 'moonring', server: await startMoonring(app, { options, tls: true }) });
    for (const work of choose(values.work, [...Object.keys(WORKS), ...Object.keys(OTHERS)])) {
      if (OTHERS[work]) {
        const rows = await OTHERS[work](servers, app, options);
        if (values.json) console.log(JSON.stringify({ work, rows }));
        continue;
      }
      const load = { connections: Number(values.connections), scheme: 'https', ...WORKS[work] };
      const rounds = { nginx: [], moonring: [] };
      for (const { server } of servers)
        mustBeValid(await runWrk({ port: server.port, ...load, seconds: Number(values.seconds) }));
      for (let round = 0; round < Number(values.rounds); round += 1) {
        const order = round % 2 === 0 ? servers : servers.toReversed();
        for (const { name, server } of order) {
          const result = await measureWrk(server, { ...load, seconds: Number(values.seconds) });
          rounds[name].push(mustBeValid(result));
        }
      }
      const rows = servers.map(({ name }) => summarise(name, rounds[name], rounds.nginx));
      if (values.json) console.log(JSON.stringify({ work, rows }));
      for (const { name, cpuMicros, ratio } of values.json ? [] : rows) {
        const shown = `${cpuMicros.toFixed(1).padStart(8)} µs of CPU per request`;
        console.log(`${work.padEnd(11)}${name.padEnd(10)}${shown}, ${spread(ratio, 3)} ×`);
      }
    }
  } finally {
    await Promise.all(servers.map(({ server }) => server.stop()));
    rmSync(directory, { recursive: true });
  }
});
