/*
 * Runs TLS scanners against the server with its defaults, with an ECDSA and an RSA certificate of a
 * local authority: Debian's testssl.sh, PyPI's sslyze with Mozilla's "intermediate"
 * configuration, and a client that shares no code with OpenSSL, PyPI's tlslite-ng.
 *
 *     node scripts/tls-check.mjs
 *
 * testssl.sh takes minutes.
 */
import { chmodSync, existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, runChecks, Skipped } from './lib/checks.mjs';
import { pythonPackages } from './lib/python-packages.mjs';
import { root } from './lib/root.mjs';
import { capture, must } from './lib/run-command.mjs';

const packages = ['sslyze==6.3.1', 'tlslite-ng==0.8.2'];
/** Findings of testssl.sh about the local certificate, not about the server. */
const ofTheCertificate = /^(cert_revocation|DNS_CAArecord)\b/;
/** WARN: it could not determine something. */
const harmless = ['OK', 'INFO', 'WARN'];

await runChecks(async (check) => {
  const directory = mkdtempSync(join(tmpdir(), 'moonring-tls-check-'));
  const authority = await makeAuthority(directory);
  const pairs = [
    await makePair(directory, 'ecdsa', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256'),
    await makePair(directory, 'rsa', 'rsa:2048'),
  ];
  const { createServer } = await import('../dist/index.js');
  const server = createServer({
    app: join(root, 'test/tls/app.lua'),
    admin: 'off',
    logLevel: 'off',
    port: 'off',
    tlsPort: 0,
    tlsCert: pairs.map(({ cert }) => cert),
    tlsKey: pairs.map(({ key }) => key),
    tlsHsts: '4320h',
  });
  try {
    const { port } = new URL((await server.start()).address);
    const python = await pythonPackages('tls-scanners', packages, 'sslyze');
    const missing = python.reason && (await capture('testssl', ['--version'])).code === 127;
    if (missing) throw new Skipped(`testssl is not installed, and ${python.reason}`);
    if (python.reason)
      process.stdout.write(`sslyze and tlslite-ng are left out: ${python.reason}\n`);
    else {
      await check('tlslite-ng resumes sessions of TLS 1.2 and 1.3', () => resume(python.bin, port));
      await check('sslyze', () => scan(python.bin, port, authority, directory));
    }
    await check('testssl.sh', () => testssl(port, authority, directory));
  } finally {
    await server.close();
    rmSync(directory, { recursive: true });
  }
});

async function makeAuthority(directory) {
  const [key, cert] = ['key', 'pem'].map((end) => join(directory, `authority.${end}`));
  await must('openssl', [
    ...['req', '-x509', '-newkey', 'rsa:3072', '-nodes', '-keyout', key, '-out', cert],
    ...['-days', '30', '-subj', '/CN=Local authority', '-addext', 'keyUsage=critical,keyCertSign'],
  ]);
  return cert;
}

async function makePair(directory, name, ...kind) {
  const file = (end) => join(directory, `${name}.${end}`);
  const [key, cert, request, extensions] = ['key', 'pem', 'csr', 'ext'].map(file);
  writeFileSync(
    extensions,
    'subjectAltName=DNS:localhost\nbasicConstraints=critical,CA:FALSE\n' +
      'keyUsage=critical,digitalSignature\nextendedKeyUsage=serverAuth\n',
  );
  await must('openssl', [
    ...['req', '-new', '-newkey', ...kind, '-nodes', '-keyout', key, '-out', request],
    ...['-subj', '/CN=localhost'],
  ]);
  const authority = ['-CA', join(directory, 'authority.pem'), '-CAcreateserial', '-days', '90'];
  await must('openssl', [
    ...['x509', '-req', '-in', request, ...authority, '-out', cert],
    ...['-CAkey', join(directory, 'authority.key'), '-extfile', extensions],
  ]);
  chmodSync(key, 0o600);
  return { cert, key };
}

async function resume(bin, port) {
  const { stdout } = await must(join(bin, 'python'), [join(root, 'test/tls/resume.py'), port]);
  const expected = ['TLS 1.2', 'TLS 1.3'].flatMap((version) =>
    [false, true].map((isResumed) => [version, 'http/1.1', isResumed, 'hello, world\n']),
  );
  expect(JSON.stringify(JSON.parse(stdout)) === JSON.stringify(expected), stdout);
}

/** Its exit code says whether the server complies; the rest is in the report. */
async function scan(bin, port, authority, directory) {
  const report = join(directory, 'sslyze.json');
  const { code, output } = await capture(join(bin, 'sslyze'), [
    ...['--mozilla_config', 'intermediate', '--certinfo_ca_file', authority, '--certinfo'],
    ...['--sslv2', '--sslv3', '--tlsv1', '--tlsv1_1', '--tlsv1_2', '--tlsv1_3', '--early_data'],
    ...['--resum', '--reneg', '--compression', '--fallback', '--heartbleed', '--openssl_ccs'],
    ...['--robot', '--ems', '--elliptic_curves', '--json_out', report, `localhost:${port}`],
  ]);
  expect(code === 0, output);
  const [{ scan_result: found }] = JSON.parse(readFileSync(report, 'utf8')).server_scan_results;
  const of = (name) => found[name].result;
  const facts = {
    'early data': of('tls_1_3_early_data').supports_early_data,
    compression: of('tls_compression').supports_compression,
    Heartbleed: of('heartbleed').is_vulnerable_to_heartbleed,
    'CCS injection': of('openssl_ccs_injection').is_vulnerable_to_ccs_injection,
    renegotiation: of('session_renegotiation').is_vulnerable_to_client_renegotiation_dos,
    ROBOT: of('robot').robot_result !== 'NOT_VULNERABLE_RSA_NOT_SUPPORTED',
    'no fallback SCSV': !of('tls_fallback_scsv').supports_fallback_scsv,
    'no extended master secret': !of('tls_extended_master_secret').supports_ems_extension,
    'no tickets': of('session_resumption').tls_ticket_resumption_result !== 'FULLY_SUPPORTED',
  };
  const wrong = Object.keys(facts).filter((name) => facts[name]);
  expect(wrong.length === 0, wrong.join(', '));
  return 'it complies with the configuration';
}

async function testssl(port, authority, directory) {
  const report = join(directory, 'testssl.json');
  const { output } = await capture('testssl', [
    ...['--quiet', '--color', '0', '--warnings', 'off', '--nodns', 'none', '--ip', '127.0.0.1'],
    ...['--add-ca', authority, '--jsonfile', report, `https://localhost:${port}/`],
  ]);
  expect(existsSync(report), output);
  const all = JSON.parse(readFileSync(report, 'utf8'));
  expect(all.at(-1)?.id === 'scanTime', `it has not ended:\n${output}`);
  const wrong = all.filter(
    ({ id, severity }) => !harmless.includes(severity) && !ofTheCertificate.test(id),
  );
  const lines = wrong.map(({ id, severity, finding }) => `${severity} ${id}: ${finding}`);
  expect(wrong.length === 0, lines.join('\n'));
  return `${all.length} findings, none above informational but for the certificate's`;
}
