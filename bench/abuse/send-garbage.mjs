// `bytesPerSecond` of random bytes for `durationMs`, over connections that are replaced when the
// server has closed them.
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { setTimeout as delay } from 'node:timers/promises';
import { openSockets } from './open-sockets.mjs';

const PIECE = 16 * 1024;

export async function sendGarbage({ port, count, bytesPerSecond, durationMs, ready }) {
  const garbage = randomBytes(64 * PIECE);
  const intervalMs = (1000 * PIECE) / bytesPerSecond;
  const begin = performance.now();
  let sockets = [];
  let connections = 0;
  let bytes = 0;
  let refused = 0;
  const refill = async () => {
    sockets = sockets.filter((socket) => socket.writable);
    const fresh = await openSockets(port, count - sockets.length, (socket) => {
      socket.setEncoding('latin1').once('data', (text) => {
        if (text.startsWith('HTTP/1.1 ')) refused++;
      });
    });
    connections += fresh.length;
    sockets.push(...fresh);
  };
  ready();
  for (let i = 0; performance.now() - begin < durationMs; i++) {
    await refill();
    const socket = sockets[i % sockets.length];
    const at = (i % 64) * PIECE;
    if (socket) {
      bytes += PIECE;
      // An own write for each part: the server finds it in pieces.
      if (!socket.write(garbage.subarray(at, at + PIECE))) {
        await Promise.race([once(socket, 'drain').catch(() => {}), once(socket, 'close')]);
      }
    }
    const aheadMs = (i + 1) * intervalMs - (performance.now() - begin);
    if (aheadMs > 0) await delay(aheadMs);
  }
  const tookMs = performance.now() - begin;
  for (const socket of sockets) socket.destroy();
  return { connections, refused, bytes, tookMs };
}
