// A client that behaves: one connection, one request after the other, each answer awaited.
import { once } from 'node:events';
import { connect } from 'node:net';

const REQUEST = 'GET / HTTP/1.1\r\nHost: localhost\r\n\r\n';
const TIMEOUT_MS = 10_000;

/** Latencies in milliseconds over `durationMs`, sorted; ends with an error on any other answer. */
export async function latencies(port, durationMs) {
  const socket = connect({ port, host: '127.0.0.1', noDelay: true });
  await once(socket, 'connect');
  socket.setTimeout(TIMEOUT_MS, () => socket.destroy(new Error('A normal client got no answer.')));
  socket.setEncoding('latin1');
  const times = [];
  try {
    const end = performance.now() + durationMs;
    while (performance.now() < end) {
      const begin = performance.now();
      socket.write(REQUEST);
      const [text] = await once(socket, 'data');
      times.push(performance.now() - begin);
      if (!text.startsWith('HTTP/1.1 200 ')) throw new Error(`A normal client got: ${text}`);
    }
  } finally {
    socket.destroy();
  }
  return times.sort((a, b) => a - b);
}

export function quantile(sorted, q) {
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * q))];
}

/** Whether a new connection is answered 200. */
export async function answers(port) {
  try {
    return (await latencies(port, 1)).length > 0;
  } catch {
    return false;
  }
}
