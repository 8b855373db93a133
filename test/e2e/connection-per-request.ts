import { createConnection } from 'node:net';
import { requestText } from './raw-client.js';

const REQUEST = requestText('/', { headers: { Connection: 'close' } });

export type Outcome = 'answered' | 'refused' | 'broken';

export interface ConnectionLoad {
  readonly counts: Record<Outcome, number>;
  /** The responses, counted by body. */
  readonly bodies: ReadonlyMap<string, number>;
  readonly stop: () => Promise<void>;
}

/** `clients` that open a connection, send one request, and start again. */
export function startConnectionLoad(host: string, port: number, clients: number): ConnectionLoad {
  const counts = { answered: 0, refused: 0, broken: 0 };
  const bodies = new Map<string, number>();
  const onBody = (body: string) => bodies.set(body, (bodies.get(body) ?? 0) + 1);
  let running = true;
  const ended = Array.from({ length: clients }, async () => {
    while (running) counts[await askOnce(host, port, onBody)]++;
  });
  return {
    counts,
    bodies,
    stop: async () => {
      running = false;
      await Promise.all(ended);
    },
  };
}

/** Refused: never established; broken: ended without a response. */
function askOnce(host: string, port: number, onBody: (body: string) => void): Promise<Outcome> {
  return new Promise((resolve) => {
    let connected = false;
    let text = '';
    const socket = createConnection({ host, port });
    socket.setEncoding('latin1');
    socket.on('connect', () => {
      connected = true;
      socket.write(REQUEST);
    });
    socket.on('data', (chunk: string) => (text += chunk));
    // An error is followed by close.
    socket.on('error', () => {});
    socket.on('close', () => {
      const body = /^HTTP\/1\.1 200 [\s\S]*?\r\n\r\n([\s\S]*)$/.exec(text)?.[1];
      if (body !== undefined) onBody(body);
      resolve(body !== undefined ? 'answered' : connected ? 'broken' : 'refused');
    });
  });
}
