import { MoonringError, messageOf } from '../shared/errors.js';
import type { NativeAddon, TcpListenerOptions, TcpListeners } from '../shared/native.js';

/**
 * Opens the listening sockets, one a reactor. They belong to the master for its whole life: a crash
 * or a restart of a reactor closes none, so no waiting connection is lost. `origins` says where
 * host and port were set, for the error. Throws ERR_MOONRING_LISTEN with a sentence.
 */
export function openListeners(
  native: Pick<NativeAddon, 'openTcpListeners'>,
  options: TcpListenerOptions,
  origins: readonly string[],
): TcpListeners {
  try {
    return native.openTcpListeners(options);
  } catch (cause) {
    const origin = origins.length === 0 ? '' : ` (set by ${origins.join(' and ')})`;
    const sentence = sentenceFor(cause, options) + origin;
    throw new MoonringError('ERR_MOONRING_LISTEN', sentence, { cause });
  }
}

/** "127.0.0.1:8080", "[::1]:8080". */
export function formatAddress(host: string, port: number): string {
  return host.includes(':') ? `[${host}]:${port}` : `${host}:${port}`;
}

function sentenceFor(cause: unknown, { host, port }: TcpListenerOptions): string {
  const address = formatAddress(host, port);
  switch (errnoOf(cause)) {
    case 'EADDRINUSE':
      return `${address} is in use by another program: stop it, or choose another --port (0 picks a free one)`;
    case 'EACCES':
      return `no permission to listen on ${address}: choose a port above 1023, or give this program the right to`;
    case 'EADDRNOTAVAIL':
      return `${host} is not an address of this machine: choose another --host (0.0.0.0 for all)`;
    default:
      return `cannot listen on ${address}: ${messageOf(cause)}`;
  }
}

function errnoOf(cause: unknown): unknown {
  return cause instanceof Error && 'code' in cause ? cause.code : null;
}
