// Connections that send `bytes` of a request without its end, are held open all together and then
// vanish without having read anything.
import { closed, openSockets } from './open-sockets.mjs';

const BEGINNING = 'GET /half-a-requ';

export async function holdHalfRequests({ port, count, bytes, ready, ended }) {
  const half = BEGINNING.padEnd(bytes, 'x');
  const sockets = await openSockets(port, count, (socket) => {
    socket.pause();
    socket.write(half);
  });
  const open = sockets.filter((socket) => !socket.destroyed).length;
  ready();
  await ended;
  for (const socket of sockets) socket.destroy();
  await Promise.all(sockets.map(closed));
  return { open };
}
