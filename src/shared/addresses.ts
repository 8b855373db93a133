import { isIP } from 'node:net';
import { type Parsed, parsed, problem } from './units.js';

/** Where something listens or is asked. */
export type Address =
  | { readonly type: 'tcp'; readonly host: string; readonly port: number }
  | { readonly type: 'unix'; readonly path: string };

/**
 * `127.0.0.1:9464`, `[::1]:9464`, `/run/moonring.sock`, or one of each with a comma between them;
 * `off`: none.
 */
export function parseAddresses(text: string): Parsed<readonly Address[]> {
  if (text === 'off') return parsed([]);
  const addresses: Address[] = [];
  for (const part of text.split(',')) {
    const address = parseAddress(part);
    if (address === null) {
      return problem(`"${part}" is neither host:port, nor a path with a slash, nor off`);
    }
    if (addresses.some(({ type }) => type === address.type)) {
      return problem(`"${text}" names two addresses of one kind: write host:port,path`);
    }
    addresses.push(address);
  }
  return parsed(addresses);
}

/** "127.0.0.1:8080", "[::1]:8080", or the path. */
export function formatAddress(address: Address): string {
  if (address.type === 'unix') return address.path;
  const { host, port } = address;
  return host.includes(':') ? `[${host}]:${port}` : `${host}:${port}`;
}

/** What `server.listen` and `http.request` of node take. */
export function nodeTarget(address: Address): { host: string; port: number } | { path: string } {
  return address.type === 'unix'
    ? { path: address.path }
    : { host: address.host, port: address.port };
}

export function isHost(text: string): boolean {
  if (text.length > 253) return false;
  return isIP(text) !== 0 || /^[A-Za-z0-9_]([A-Za-z0-9_.-]*[A-Za-z0-9_.])?$/.test(text);
}

function parseAddress(text: string): Address | null {
  if (text.includes('/')) return { type: 'unix', path: text };
  const match = /^(?:\[([^\]]*)\]|([^:]*)):(\d{1,5})$/.exec(text);
  const host = match?.[1] ?? match?.[2] ?? '';
  const port = Number(match?.[3]);
  if (match === null || !isHost(host) || port > 65_535) return null;
  return { type: 'tcp', host, port };
}
