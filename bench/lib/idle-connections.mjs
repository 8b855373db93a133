// A process that holds idle keep-alive connections: each has asked once and been answered. It is
// started with a port and a number, and says over IPC when they are open; a message ends it.
import { fork } from 'node:child_process';
import { once } from 'node:events';
import { connect } from 'node:net';
import { fileURLToPath } from 'node:url';
import { requestText } from './answer.mjs';

const AT_A_TIME = 64;
/** Spread over several addresses, so that the ports of one do not run out. */
const CONNECTIONS_PER_ADDRESS = 4000;

/**
 * Opens `count` of them in a process of their own. Returns { close }, which closes them all and
 * waits for that process.
 */
export async function holdIdleConnections(port, count) {
  const child = fork(fileURLToPath(import.meta.url), [String(port), String(count)]);
  const exited = once(child, 'exit');
  const opened = once(child, 'message').then(([message]) => message);
  const result = await Promise.race([opened, exited]);
  if (result !== 'open') {
    throw new Error('The idle connections could not be opened.');
  }
  const close = async () => {
    child.send('close');
    await exited;
  };
  return { close };
}

async function openOne(port, number) {
  const localAddress = `127.0.0.${1 + Math.floor(number / CONNECTIONS_PER_ADDRESS)}`;
  const socket = connect({ port, host: '127.0.0.1', localAddress });
  await once(socket, 'connect');
  socket.write(requestText(port, '/'));
  await once(socket, 'data');
  socket.once('close', () => {
    console.error('The server closed an idle connection.');
    process.exit(1);
  });
}

async function hold(port, count) {
  let next = 0;
  const openSome = async () => {
    while (next < count) {
      await openOne(port, next++);
    }
  };
  await Promise.all(Array.from({ length: AT_A_TIME }, openSome));
  process.send('open');
  await once(process, 'message');
  process.exit(0);
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  await hold(Number(process.argv[2]), Number(process.argv[3]));
}
