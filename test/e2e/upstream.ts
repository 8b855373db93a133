import { createServer, type Socket } from 'node:net';
import type { Test } from 'tap';
import { listenLocally } from './listening.js';
import { resetConnection } from './reset-connection.js';

/** A server for line-based requests; each line says what to do. */
export interface Upstream {
  readonly port: number;
  /** Open connections. */
  readonly open: ReadonlySet<Socket>;
  /** The number of connections so far. */
  readonly accepted: () => number;
  /** Closes all connections. */
  readonly dropAll: () => void;
}

const answers: Readonly<Record<string, (socket: Socket, text: string) => void>> = {
  echo: (socket, text) => socket.write(`${text}\n`),
  hold: (socket) => socket.write('held\n'),
  slow: (socket, text) => setTimeout(() => socket.write(`${text}\n`), 50),
  drip: (socket, text) => socket.write(text),
  silent: () => undefined,
  half: (socket, text) => socket.end(text),
  die: (socket, text) => socket.write(text, () => resetConnection(socket)),
  bytewise: (socket, text) => {
    for (const byte of `${text}\n`) socket.write(byte);
  },
};

export async function startUpstream(t: Test): Promise<Upstream> {
  const open = new Set<Socket>();
  let count = 0;
  const server = createServer({ allowHalfOpen: true, noDelay: true }, (socket) => {
    open.add(socket);
    count += 1;
    let rest = '';
    socket.on('close', () => open.delete(socket));
    socket.on('error', () => undefined);
    socket.on('end', () => socket.end());
    socket.on('data', (data) => {
      const lines = (rest + data.toString()).split('\n');
      rest = lines.pop() ?? '';
      for (const line of lines) {
        const [verb = '', ...words] = line.split(' ');
        answers[verb]?.(socket, words.join(' '));
      }
    });
  });
  const dropAll = () => {
    for (const socket of open) socket.destroy();
  };
  const port = await listenLocally(server);
  t.teardown(() => {
    dropAll();
    server.close();
  });
  return { port, open, accepted: () => count, dropAll };
}
