// Many connections, a bounded number at a time so that the listen queue is not what is measured.
import { once } from 'node:events';
import { connect } from 'node:net';

const AT_A_TIME = 64;

/** Opens `count` connections and hands each to `begin` as soon as it is there. */
export async function openSockets(port, count, begin = () => {}) {
  const sockets = [];
  let left = count;
  const openSome = async () => {
    while (left-- > 0) {
      const socket = connect({ port, host: '127.0.0.1', noDelay: true });
      // What the server does with an attacker is counted by `close`.
      socket.on('error', () => {});
      try {
        await once(socket, 'connect');
      } catch {
        continue;
      }
      sockets.push(socket);
      await begin(socket);
    }
  };
  await Promise.all(Array.from({ length: Math.min(AT_A_TIME, count) }, openSome));
  return sockets;
}

export function closed(socket) {
  return socket.closed ? Promise.resolve() : new Promise((resolve) => socket.on('close', resolve));
}
