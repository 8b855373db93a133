// Idle keep-alive connections, held by a separate process.
import { fork } from 'node:child_process';
import { once } from 'node:events';
import { connect } from 'node:net';
import { connect as connectTls } from 'node:tls';

const AT_A_TIME = 64;
/** Spread over several addresses, so that the ports of one address do not run out. */
const PER_ADDRESS = 4000;

/** `count` connections with one response each. `close` fails if the server has closed one. */
export async function openIdle(port, count, { tls = false } = {}) {
  const child = fork(import.meta.filename, [], {
    env: { ...process.env, HOLD: `${port} ${count} ${Number(tls)}` },
  });
  const exited = once(child, 'exit');
  const opened = once(child, 'message').then(([message]) => message);
  if ((await Promise.race([opened, exited])) !== 'open') {
    throw new Error(`${count} connections could not be opened (ulimit -Hn?)`);
  }
  const close = async () => {
    child.kill();
    const [code] = await exited;
    if (code !== null) throw new Error('the server has closed an idle connection');
  };
  return { close };
}

async function hold(port, count, tls) {
  let next = 0;
  const openSome = async () => {
    while (next < count) {
      const localAddress = `127.0.0.${1 + Math.floor(next++ / PER_ADDRESS)}`;
      const where = { port, host: '127.0.0.1', localAddress };
      const socket = tls ? connectTls({ ...where, rejectUnauthorized: false }) : connect(where);
      await once(socket, tls ? 'secureConnect' : 'connect');
      socket.write('GET / HTTP/1.1\r\nHost: idle\r\n\r\n');
      await once(socket, 'data');
      socket.once('close', () => process.exit(1));
    }
  };
  await Promise.all(Array.from({ length: AT_A_TIME }, openSome));
  process.send('open');
}

if (process.env.HOLD) await hold(...process.env.HOLD.split(' ').map(Number));
