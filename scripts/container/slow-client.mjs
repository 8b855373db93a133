/*
 * A client in the middle of a request, with a number of idle connections beside it (so many that
 * every reactor has some). Says "half" when all of that is so, "idle closed" when the server has
 * closed all idle ones (so it drains), and sends the rest when a line comes in on standard input.
 * Prints what the server then answers, up to the end of the connection.
 */
import { createConnection } from 'node:net';

const idle = 16;
const body = 'two halves';
const get = 'GET / HTTP/1.1\r\nHost: check\r\n\r\n';
const post = `POST /echo HTTP/1.1\r\nHost: check\r\nContent-Length: ${body.length}\r\n\r\n`;

const others = await Promise.all(Array.from({ length: idle }, () => connectionAfter(get)));
// The first request's answer says that the half behind it has arrived too.
const slow = await connectionAfter(get + post + body.slice(0, 3));
slow.on('data', (text) => process.stdout.write(text));
slow.on('close', () => process.exit());
process.stdout.write('half\n');
process.stdin.once('data', () => slow.write(body.slice(3)));

await Promise.all(others.map((socket) => new Promise((resolve) => socket.on('close', resolve))));
process.stdout.write('idle closed\n');

/** A connection on which one answer has come. */
function connectionAfter(bytes) {
  const socket = createConnection({ port: Number(process.argv[2]), host: '127.0.0.1' });
  socket.setEncoding('utf8').on('error', (error) => process.stdout.write(`${error.message}\n`));
  socket.write(bytes);
  return new Promise((resolve) => {
    socket.once('data', () => resolve(socket.resume()));
  });
}
