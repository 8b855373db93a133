import { createPrivateKey, type KeyObject, X509Certificate } from 'node:crypto';
import { readFileSync, statSync } from 'node:fs';
import { MoonringError, messageOf } from '../../shared/errors.js';
import type { Config } from '../../shared/options.js';
import { formatDuration } from '../../shared/units.js';

/** Reads certificates and keys, and finds problems before clients do. */

export interface Certificate {
  readonly path: string;
  /** PEM, with its chain. */
  readonly certificate: Buffer;
  readonly key: Buffer;
  /** The names it is valid for: "example.org", "*.example.org". */
  readonly names: readonly string[];
  /** Hexadecimal. */
  readonly serial: string;
  readonly notAfter: Date;
}

/** The TLS configuration of a generation of reactors. */
export interface Certificates {
  /** The first is for clients that request no known name. */
  readonly list: readonly Certificate[];
  readonly ocsp: readonly Buffer[];
  readonly clientCa: Buffer | null;
  readonly requiresClient: boolean;
  /** What an operator should know. */
  readonly warnings: readonly string[];
}

type TlsConfig = Pick<
  Config,
  'tlsCert' | 'tlsKey' | 'tlsOcsp' | 'tlsClientCa' | 'tlsClientCert' | 'tlsRedirect' | 'tlsHsts'
>;

/** Certificates that expire sooner cause a warning. */
const SOON_DAYS = 14;
const DAY_MS = 24 * 3600 * 1000;
/** The most that a reactor accepts. */
const CERTIFICATES_MAX = 64;

/** `null` if none is configured. Throws ERR_MOONRING_CONFIG. */
export function readCertificates(config: TlsConfig, nowMs: number): Certificates | null {
  const { tlsCert, tlsKey } = config;
  if (tlsCert.length === 0) {
    requireNone(config);
    return null;
  }
  if (tlsKey.length !== tlsCert.length) {
    const message = `--tls-cert names ${count(tlsCert, 'file')} and --tls-key ${count(tlsKey, 'file')}: each certificate needs its key, in the same order`;
    throw new MoonringError('ERR_MOONRING_CONFIG', message);
  }
  if (tlsCert.length > CERTIFICATES_MAX) {
    const message = `--tls-cert names ${tlsCert.length} files; at most ${CERTIFICATES_MAX} can be used`;
    throw new MoonringError('ERR_MOONRING_CONFIG', message);
  }
  const list = tlsCert.map((path, i) => readPair(path, tlsKey[i] ?? '', nowMs));
  return {
    list,
    ocsp: config.tlsOcsp.map((path) => read('--tls-ocsp', path)),
    clientCa: config.tlsClientCa === null ? null : readAuthorities(config.tlsClientCa),
    requiresClient: config.tlsClientCert === 'require',
    warnings: [
      ...list.flatMap((each) => endingSoon(each, nowMs)),
      ...list.flatMap((each) => refusedByClients(each)),
      ...tlsKey.flatMap((path) => readableByAll(path)),
    ],
  };
}

/** An option that would have no effect is a mistake. */
function requireNone(config: TlsConfig): void {
  const { tlsKey, tlsOcsp, tlsClientCa, tlsRedirect, tlsHsts } = config;
  const given: [string, boolean][] = [
    ['--tls-key', tlsKey.length > 0],
    ['--tls-ocsp', tlsOcsp.length > 0],
    ['--tls-client-ca', tlsClientCa !== null],
    ['--tls-redirect', tlsRedirect],
    ['--tls-hsts', tlsHsts > 0],
  ];
  const lonely = given.find(([, isGiven]) => isGiven)?.[0];
  if (lonely === undefined) return;
  throw new MoonringError('ERR_MOONRING_CONFIG', `${lonely} has no effect without --tls-cert`);
}

function readPair(path: string, keyPath: string, nowMs: number): Certificate {
  const certificate = read('--tls-cert', path);
  const key = read('--tls-key', keyPath);
  const [leaf] = parseAll('--tls-cert', path, certificate);
  if (leaf === undefined) throw wrong('--tls-cert', path, 'holds no certificate');
  const privateKey = parseKey(keyPath, key);
  if (!leaf.checkPrivateKey(privateKey)) {
    throw wrong('--tls-key', keyPath, `is not the key of ${path}`);
  }
  const notAfter = new Date(leaf.validTo);
  const notBefore = new Date(leaf.validFrom);
  if (notAfter.getTime() <= nowMs) {
    throw wrong('--tls-cert', path, `expired on ${notAfter.toISOString()}`);
  }
  if (notBefore.getTime() > nowMs) {
    throw wrong('--tls-cert', path, `is not valid before ${notBefore.toISOString()}`);
  }
  const serial = leaf.serialNumber.toLowerCase();
  return { path, certificate, key, names: namesOf(leaf), serial, notAfter };
}

const PEM_CERTIFICATE = /-----BEGIN CERTIFICATE-----[^-]*-----END CERTIFICATE-----/g;

function parseAll(option: string, path: string, text: Buffer): X509Certificate[] {
  return (text.toString('latin1').match(PEM_CERTIFICATE) ?? []).map((pem) => {
    try {
      return new X509Certificate(pem);
    } catch (cause) {
      throw wrong(option, path, `holds a certificate that cannot be read: ${messageOf(cause)}`);
    }
  });
}

function parseKey(path: string, text: Buffer): KeyObject {
  const pem = text.toString('latin1');
  if (/ENCRYPTED/.test(pem)) {
    throw wrong('--tls-key', path, 'is encrypted: give a key without a passphrase');
  }
  if (!/-----BEGIN [A-Z ]*PRIVATE KEY-----/.test(pem)) {
    throw wrong('--tls-key', path, 'holds no private key in PEM');
  }
  try {
    return createPrivateKey(text);
  } catch (cause) {
    throw wrong('--tls-key', path, `holds a key that cannot be read: ${messageOf(cause)}`);
  }
}

function readAuthorities(path: string): Buffer {
  const text = read('--tls-client-ca', path);
  if (parseAll('--tls-client-ca', path, text).length === 0) {
    throw wrong('--tls-client-ca', path, 'holds no certificate');
  }
  return text;
}

/** The common name counts only if there is no other. */
function namesOf({ subjectAltName, subject }: X509Certificate): string[] {
  const names = (subjectAltName ?? '')
    .split(', ')
    .flatMap((name) => (name.startsWith('DNS:') ? [name.slice('DNS:'.length)] : []));
  if (subjectAltName !== undefined) return names;
  const common = /^CN=(.*)$/m.exec(subject)?.[1];
  return common === undefined ? [] : [common];
}

function endingSoon({ path, notAfter }: Certificate, nowMs: number): string[] {
  const leftMs = notAfter.getTime() - nowMs;
  if (leftMs > SOON_DAYS * DAY_MS) return [];
  const hours = formatDuration(Math.floor(leftMs / 3_600_000) * 3_600_000);
  return [`the certificate ${path} expires in ${hours}, on ${notAfter.toISOString()}`];
}

/** Curves of TLS 1.3 (RFC 8446 §4.2.3); clients have no other ones for certificates. */
const CURVES = ['prime256v1', 'secp384r1', 'secp521r1'];
const RSA_BITS_MIN = 2048;

/** A key with which every handshake of common clients fails. */
function refusedByClients({ path, key }: Certificate): string[] {
  const { asymmetricKeyDetails: details } = createPrivateKey(key);
  const curve = details?.namedCurve;
  if (curve !== undefined && !CURVES.includes(curve)) {
    return [`clients refuse the certificate ${path}: its key is on the curve ${curve}, not P-256`];
  }
  const bits = details?.modulusLength;
  if (bits !== undefined && bits < RSA_BITS_MIN) {
    return [
      `clients refuse the certificate ${path}: its key has ${bits} bits, not ${RSA_BITS_MIN}`,
    ];
  }
  return [];
}

function readableByAll(path: string): string[] {
  const { mode } = statSync(path);
  return (mode & 0o004) === 0 ? [] : [`every user can read the key ${path}: chmod 600 ${path}`];
}

function read(option: string, path: string): Buffer {
  try {
    return readFileSync(path);
  } catch (cause) {
    throw wrong(option, path, `cannot be read: ${messageOf(cause)}`);
  }
}

function wrong(option: string, path: string, problem: string): MoonringError {
  return new MoonringError('ERR_MOONRING_CONFIG', `${option}: ${path} ${problem}`);
}

function count(list: readonly string[], noun: string): string {
  return `${list.length} ${noun}${list.length === 1 ? '' : 's'}`;
}
