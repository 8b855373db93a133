import { execFile, spawn } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { promisify } from 'node:util';
import t from 'tap';
import { makeCertificate } from './certificate.js';
import { hasProgram, startServer, tlsPortOf } from './server.js';

const run = promisify(execFile);

const { cert, key } = makeCertificate(t);
const args = ['--tls-port', '0', '--tls-cert', cert, '--tls-key', key];
const server = await startServer(t, { app: 'tls.lua', processes: 2, args });
const port = String(await tlsPortOf(server));
const REQUEST = 'GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n';

const without = (program: string) => ({
  skip: hasProgram(program) ? false : `${program} is not installed`,
});

/** The output of a program with `input`. */
async function outputOf(program: string, programArgs: readonly string[], input: string) {
  const child = spawn(program, programArgs, { stdio: ['pipe', 'pipe', 'ignore'] });
  child.stdin.end(input);
  return text(child.stdout);
}

t.test('curl', without('curl'), async (t) => {
  const curl = async (...more: string[]) => {
    const url = `https://localhost:${port}`;
    const { stdout } = await run('curl', [
      '-sS',
      '--cacert',
      cert,
      ...more,
      `${url}/a`,
      `${url}/b`,
    ]);
    return stdout;
  };
  for (const [option, version] of [
    ['--tlsv1.3', 'TLSv1.3'],
    ['--tls-max', 'TLSv1.2'],
  ] as const) {
    const more = option === '--tls-max' ? [option, '1.2'] : [option];
    const printed = await curl(...more, '-w', '\n%{num_connects} %{http_version}\n');
    t.match(printed, `"version":"${version}"`);
    t.match(printed, /\n1 1\.1\n[\s\S]*\n0 1\.1\n/, 'both on one connection');
  }
});

t.test('openssl s_client', without('openssl'), async (t) => {
  const directory = mkdtempSync(join(tmpdir(), 'moonring-session-'));
  t.teardown(() => rmSync(directory, { recursive: true }));
  const usual = ['s_client', '-connect', `localhost:${port}`, '-CAfile', cert, '-alpn', 'http/1.1'];
  const ask = (...more: string[]) => outputOf('openssl', [...usual, '-ign_eof', ...more], REQUEST);
  for (const version of ['-tls1_2', '-tls1_3']) {
    const session = join(directory, version);
    const first = await ask(version, '-sess_out', session);
    t.match(first, /^New, TLSv1\.[23], Cipher is /m);
    t.match(first, 'ALPN protocol: http/1.1');
    t.match(first, 'Verify return code: 0 (ok)');
    t.match(first, 'HTTP/1.1 200 OK\r\n');
    const second = await ask(version, '-sess_in', session);
    t.match(second, /^Reused, TLSv1\.[23], Cipher is /m);
    t.match(second, '"resumed":true');
  }
  // The server's order is used, unless the client prefers ChaCha20.
  for (const [ciphers, chosen] of [
    ['ECDHE-ECDSA-AES256-GCM-SHA384:ECDHE-ECDSA-AES128-GCM-SHA256', 'AES128-GCM-SHA256'],
    ['ECDHE-ECDSA-CHACHA20-POLY1305:ECDHE-ECDSA-AES128-GCM-SHA256', 'CHACHA20-POLY1305'],
  ] as const) {
    t.match(await ask('-tls1_2', '-cipher', ciphers), `Cipher is ECDHE-ECDSA-${chosen}`);
  }
  // A line with R requests a renegotiation.
  const renegotiation = await outputOf('openssl', [...usual, '-tls1_2'], 'R\nGET / HTTP/1.1\r\n');
  t.match(renegotiation, 'Secure Renegotiation IS supported');
  t.notMatch(renegotiation, 'HTTP/1.1 200');
});

t.test('gnutls-cli', without('gnutls-cli'), async (t) => {
  for (const priority of ['NORMAL:-VERS-ALL:+VERS-TLS1.2', 'NORMAL:-VERS-ALL:+VERS-TLS1.3']) {
    const more = ['--x509cafile', cert, '--priority', priority, '--alpn', 'http/1.1', '-p', port];
    const printed = await outputOf('gnutls-cli', [...more, 'localhost'], REQUEST);
    t.match(printed, 'The certificate is trusted.');
    t.match(printed, 'Application protocol: http/1.1');
    t.match(printed, `(TLS${priority.slice(-3)}`);
    t.match(printed, 'HTTP/1.1 200 OK');
    t.match(printed, 'Peer has closed the GnuTLS connection', 'by close_notify');
  }
});

t.test('Chromium', without('chromium'), async (t) => {
  const profile = mkdtempSync(join(tmpdir(), 'moonring-chromium-'));
  t.teardown(() => rmSync(profile, { recursive: true, force: true, maxRetries: 20 }));
  const { stdout } = await run('chromium', [
    ...['--headless=new', '--no-sandbox', '--disable-gpu', '--disable-dev-shm-usage'],
    ...['--ignore-certificate-errors', `--user-data-dir=${profile}`, '--dump-dom'],
    `https://localhost:${port}/`,
  ]);
  t.match(stdout, '"version":"TLSv1.3"');
});
