import { execFileSync } from 'node:child_process';
import { chmodSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { readCertificates } from '../../../../src/master/tls/certificates.js';

const directory = t.testdir();

/** The warnings about a certificate whose key was made by `openssl req` with these arguments. */
function warningsAbout(name: string, ...key: string[]): readonly string[] {
  const [tlsCert, tlsKey] = [join(directory, `${name}.pem`), join(directory, `${name}.key`)];
  const files = ['-keyout', tlsKey, '-out', tlsCert, '-subj', '/CN=localhost', '-days', '90'];
  execFileSync('openssl', ['req', '-x509', '-nodes', ...key, ...files], { stdio: 'ignore' });
  chmodSync(tlsKey, 0o600);
  const config = { tlsOcsp: [], tlsClientCa: null, tlsRedirect: false, tlsHsts: 0 };
  const options = { ...config, tlsClientCert: 'require' } as const;
  const read = readCertificates({ ...options, tlsCert: [tlsCert], tlsKey: [tlsKey] }, Date.now());
  return read?.warnings ?? [];
}

const curve = (name: string) => ['-newkey', 'ec', '-pkeyopt', `ec_paramgen_curve:${name}`];

t.test('a key that clients reject is warned about', async (t) => {
  const [p224 = ''] = warningsAbout('p224', ...curve('secp224r1'));
  t.match(p224, /^clients refuse the certificate \S+p224\.pem: .* curve secp224r1/);
  const [short = ''] = warningsAbout('short', '-newkey', 'rsa:1024');
  t.match(short, /^clients refuse the certificate \S+short\.pem: its key has 1024 bits/);
});

t.test('other keys are not warned about', async (t) => {
  t.strictSame(warningsAbout('p256', ...curve('P-256')), []);
  t.strictSame(warningsAbout('p384', ...curve('P-384')), []);
  t.strictSame(warningsAbout('rsa', '-newkey', 'rsa:2048'), []);
  t.strictSame(warningsAbout('ed25519', '-newkey', 'ed25519'), []);
});
