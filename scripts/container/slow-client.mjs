/*
 * Sends a whole request and half of a second one, says "half" when the first was answered (so the
 * half has arrived too), and sends the rest when a line comes in on standard input. Prints what the
 * server then answers, up to the end of the connection.
 */
import { createConnection } from 'node:net';

const body = 'two halves';
const head = `POST /echo HTTP/1.1\r\nHost: check\r\nContent-Length: ${body.length}\r\n\r\n`;

const socket = createConnection({ port: Number(process.argv[2]), host: '127.0.0.1' });
socket.setEncoding('utf8');
socket.write(`GET / HTTP/1.1\r\nHost: check\r\n\r\n${head}${body.slice(0, 3)}`);
socket.once('data', () => {
  process.stdout.write('half\n');
  socket.on('data', (text) => process.stdout.write(text));
});
socket.on('error', (error) => process.stdout.write(`${error.message}\n`));
socket.on('close', () => process.exit());
process.stdin.once('data', () => socket.write(body.slice(3)));
process.stdin.once('end', () => {});
