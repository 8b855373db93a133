import type { Socket } from 'node:net';

/**
 * Closes with RST. A socket that is shutting down is closed normally: libuv refuses to reset it,
 * node then leaves its handle half closed, and the process spins when it exits.
 */
export function resetConnection(socket: Socket): void {
  if (socket.writableEnded) socket.destroy();
  else socket.resetAndDestroy();
}
