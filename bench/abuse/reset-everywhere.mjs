// Connections that end with a reset, in the middle of whatever `stage` names.
import { once } from 'node:events';
import { closed, openSockets } from './open-sockets.mjs';

const REQUEST = 'GET / HTTP/1.1\r\nHost: localhost\r\n\r\n';
const POST = 'POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100000\r\n\r\n';

// What follows a whole request has been read once that is answered.
async function askAndSend(socket, rest) {
  socket.write(REQUEST + rest);
  await Promise.race([once(socket, 'data'), closed(socket)]);
}

const stages = {
  'in a request': (socket) => askAndSend(socket, 'GET / HTTP/1.1\r\nHost: loc'),
  'in a body': (socket) => askAndSend(socket, POST + 'x'.repeat(4000)),
  'before an answer': (socket) => socket.write(REQUEST.repeat(50)),
  'in an answer': async (socket) => {
    socket.write('GET /large HTTP/1.1\r\nHost: localhost\r\n\r\n');
    await Promise.race([once(socket, 'data'), closed(socket)]);
    socket.pause();
  },
};

export const STAGES = Object.keys(stages);

export async function resetEverywhere({ port, count, stage, ready }) {
  ready();
  const sockets = await openSockets(port, count, async (socket) => {
    await stages[stage](socket);
    socket.resetAndDestroy();
  });
  await Promise.all(sockets.map(closed));
  return { resets: sockets.length };
}
