import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Test } from 'tap';

export interface CertificateFiles {
  readonly cert: string;
  readonly key: string;
}

/** A self-signed certificate. `more`: further arguments of `openssl req`. */
export function writeCertificate(
  { cert, key }: CertificateFiles,
  commonName: string,
  names: string,
  ...more: string[]
): void {
  execFileSync(
    'openssl',
    [
      ...['req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes'],
      ...['-keyout', key, '-out', cert, '-subj', `/CN=${commonName}`],
      ...['-addext', `subjectAltName=${names}`, ...more],
    ],
    { stdio: 'ignore' },
  );
}

/** A key and a self-signed certificate for localhost: `cert` is its file. */
export function makeCertificate(t: Test) {
  const directory = mkdtempSync(join(tmpdir(), 'moonring-tls-'));
  t.teardown(() => rmSync(directory, { recursive: true }));
  const key = join(directory, 'key.pem');
  const cert = join(directory, 'cert.pem');
  writeCertificate({ cert, key }, 'localhost', 'DNS:localhost', '-days', '2');
  return { key, cert, options: { key: readFileSync(key), cert: readFileSync(cert) } };
}
