import { once } from 'node:events';
import { createConnection } from 'node:net';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { connect as connectTls } from 'node:tls';
import { within } from '../e2e/until.js';
import type { WireEnd } from './wire-document.js';

/** Sent where a connection should still be open: the response proves it. */
export const PROBE = 'GET /probe HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n';
export const PROBE_RESPONSE = '200 GET /probe 1.1 []';

export interface Address {
  readonly host: string;
  readonly port: number;
  /** Each piece is a record of TLS. */
  readonly tls?: boolean;
}

export interface Conversation {
  readonly got: Buffer;
  /** The server reset the connection, because it was sent more than it wanted. */
  readonly reset: boolean;
}

/**
 * Sends the pieces on a connection of their own and returns all that comes back until the server
 * ends it: by itself, behind the probe (`open`), or because we end our side (`waiting`).
 */
export async function converse(
  address: Address,
  pieces: readonly Buffer[],
  end: WireEnd,
): Promise<Conversation> {
  const { host, port, tls = false } = address;
  const options = { host, port, allowHalfOpen: true, noDelay: true };
  const socket = tls
    ? connectTls({ ...options, rejectUnauthorized: false })
    : createConnection(options);
  const received: Buffer[] = [];
  let reset = false;
  socket.on('data', (chunk: Buffer) => received.push(chunk));
  socket.on('error', () => {
    reset = true;
  });
  const over = Promise.race([once(socket, 'end'), once(socket, 'close')]).catch(() => {});
  try {
    await once(socket, tls ? 'secureConnect' : 'connect');
    for (const piece of pieces) {
      if (socket.destroyed || socket.readableEnded) break;
      socket.write(piece);
      if (pieces.length > 1) await nextTurn();
    }
    if (end === 'open') socket.write(PROBE);
    if (end === 'waiting') socket.end();
    await within('the end of the connection', over);
  } finally {
    socket.destroy();
  }
  return { got: Buffer.concat(received), reset };
}
