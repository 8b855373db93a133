import { isIP } from 'node:net';
import { resolve } from 'node:path';
import { type Parsed, parsed, problem } from './units.js';

/** Where something listens. */
export type Address =
  | { readonly type: 'tcp'; readonly host: string; readonly port: number }
  | { readonly type: 'unix'; readonly path: string };

/**
 * `127.0.0.1:9464`, `[::1]:9464`, `/run/moonring.sock`, or one of each, separated by a comma;
 * `off`: none.
 */
export function parseAddresses(text: string): Parsed<readonly Address[]> {
  if (text === 'off') return parsed([]);
  const addresses: Address[] = [];
  for (const part of text.split(',')) {
    const address = parseAddress(part);
    if (address === null) {
      if (/^\d+$/.test(part)) return problem(`"${part}" has no host: write 127.0.0.1:${part}`);
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

/** All addresses of the machine, IPv4 and IPv6. */
export const ANY_HOST = '*';

/** A reactor has 16 listeners at most, one of which may be a Unix socket. */
const HOSTS_MAX = 15;

/** Comma-separated hosts: names, addresses (`::1` or `[::1]`), or `*`. */
export function parseHosts(text: string): Parsed<readonly string[]> {
  const hosts: string[] = [];
  for (const part of text.split(',')) {
    const host = /^\[(.*:.*)\]$/.exec(part)?.[1] ?? part;
    if (host !== ANY_HOST && !isHost(host)) {
      return problem(`"${part}" is not an address or a host name`);
    }
    if (!hosts.includes(host)) hosts.push(host);
  }
  if (hosts.length > HOSTS_MAX) return problem(`there are more than ${HOSTS_MAX} hosts`);
  if (hosts.includes(ANY_HOST)) return parsed([ANY_HOST]);
  // A socket on :: accepts IPv4 as well: another one on 0.0.0.0 could not be bound.
  return parsed(hosts.includes('::') ? hosts.filter((host) => host !== '0.0.0.0') : hosts);
}

/** Names of networks (os/hs_networks.h), and how many there may be after those are spelt out. */
const NETWORK_NAMES = ['loopback', 'link-local', 'private', 'unix'];
const NETWORKS_MAX = 32;

/** Comma-separated addresses, networks and names of networks. The core parses them. */
export function parseNetworks(text: string): Parsed<readonly string[]> {
  const networks = [...new Set(text.split(','))];
  for (const network of networks) {
    if (!NETWORK_NAMES.includes(network) && !isNetwork(network)) {
      return problem(
        `"${network}" is not an address, a network like 10.0.0.0/8, ${NETWORK_NAMES.slice(0, -1).join(', ')} or unix`,
      );
    }
  }
  if (networks.length > NETWORKS_MAX)
    return problem(`there are more than ${NETWORKS_MAX} networks`);
  return parsed(networks);
}

/** `10.0.0.1`, `10.0.0.0/8`, `2001:db8::/32`; no zone. */
function isNetwork(text: string): boolean {
  const [, address = '', prefix] = /^([^/%]+)(?:\/(\d{1,3}))?$/.exec(text) ?? [];
  const version = isIP(address);
  if (version === 0) return false;
  const isMapped = /^[0:]*:ffff:/i.test(address) && address.includes('.');
  const bits = prefix === undefined ? 32 : Number(prefix);
  return bits <= (version === 4 ? 32 : 128) && (!isMapped || prefix === undefined || bits >= 96);
}

/**
 * The address with a path that is resolved against `base`. A problem if the path is too long for a
 * socket.
 */
export function resolveAddress(address: Address, base: string): Parsed<Address> {
  if (address.type === 'tcp') return parsed(address);
  const path = resolve(base, address.path);
  const tooLong = socketPathProblem(path);
  return tooLong === null ? parsed({ type: 'unix', path }) : problem(tooLong);
}

/** sun_path with its NUL has 108 bytes on Linux and 104 on macOS. */
const SOCKET_PATH_MAX = process.platform === 'darwin' ? 103 : 107;

/** `null`: a Unix socket can have this path. */
export function socketPathProblem(path: string): string | null {
  const bytes = Buffer.byteLength(path);
  if (bytes <= SOCKET_PATH_MAX) return null;
  return `the socket path ${path} has ${bytes} bytes, the system allows ${SOCKET_PATH_MAX}: choose a shorter one`;
}

function isHost(text: string): boolean {
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
