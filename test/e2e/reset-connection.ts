import type { Socket } from 'node:net';

/**
 * Closes with RST. A socket that is ending is closed in order: libuv refuses to reset it, node then
 * leaves its handle half closed, and the process spins at its exit.
 */
export function resetConnection(socket: Socket): void {
  if (socket.writableEnded) socket.destroy();
  else socket.resetAndDestroy();
}
