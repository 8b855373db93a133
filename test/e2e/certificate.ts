import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Test } from 'tap';

/** A key and a certificate for localhost, signed by itself: `cert` is its file. */
export function makeCertificate(t: Test) {
  const directory = mkdtempSync(join(tmpdir(), 'moonring-tls-'));
  t.teardown(() => rmSync(directory, { recursive: true }));
  const key = join(directory, 'key.pem');
  const cert = join(directory, 'cert.pem');
  execFileSync(
    'openssl',
    [
      ...['req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes'],
      ...['-keyout', key, '-out', cert, '-days', '2', '-subj', '/CN=localhost'],
      ...['-addext', 'subjectAltName=DNS:localhost'],
    ],
    { stdio: 'ignore' },
  );
  return { cert, options: { key: readFileSync(key), cert: readFileSync(cert) } };
}
