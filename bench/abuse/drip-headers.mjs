// Slowloris: connections that send one byte of their header every `intervalMs`, and never its end.
import { closed, openSockets } from './open-sockets.mjs';

const TICKS = 20;

export async function dripHeaders({ port, count, intervalMs, ready }) {
  let refused = 0;
  let firstGoneMs = Number.POSITIVE_INFINITY;
  let begin = 0;
  const sockets = await openSockets(port, count, (socket) => {
    begin ||= performance.now();
    socket.setEncoding('latin1').once('data', (text) => {
      if (text.startsWith('HTTP/1.1 408 ')) refused++;
    });
    socket.on('close', () => {
      firstGoneMs = Math.min(firstGoneMs, performance.now() - begin);
    });
    socket.write('GET / HTTP/1.1\r\nHost: localhost\r\nX-Drip: ');
  });
  const openMs = performance.now() - begin;
  // Not all in the same moment: a few of them many times a second.
  let turn = 0;
  const timer = setInterval(() => {
    for (let i = turn % TICKS; i < sockets.length; i += TICKS) {
      if (sockets[i].writable) sockets[i].write('x');
    }
    turn++;
  }, intervalMs / TICKS);
  ready();
  await Promise.all(sockets.map(closed));
  clearInterval(timer);
  const lastGoneMs = performance.now() - begin;
  return { connections: sockets.length, refused, openMs, firstGoneMs, lastGoneMs };
}
