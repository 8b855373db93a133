import { connect, createServer, type Socket } from 'node:net';
import type { Test } from 'tap';
import { listenLocally } from './listening.js';
import { resetConnection } from './reset-connection.js';

/** A TCP port that leads to a Unix socket, over a network that can be slow or interrupted. */
export interface Relay {
  readonly port: number;
  /** Delays each piece of data, in both directions, from now on. */
  readonly delay: (ms: number) => void;
  /** Nothing passes until `resume`; connections stay open. */
  readonly pause: () => void;
  readonly resume: () => void;
  /** Resets all connections. */
  readonly cut: () => void;
  readonly open: () => number;
}

export async function startRelay(t: Test, path: string): Promise<Relay> {
  const pairs = new Set<readonly [Socket, Socket]>();
  let delayMs = 0;
  let isPaused = false;
  const held: (() => void)[] = [];
  const pass = (to: Socket, data: Buffer) => {
    const write = () => {
      if (to.writable) to.write(data);
    };
    if (isPaused) held.push(write);
    else if (delayMs > 0) setTimeout(write, delayMs);
    else write();
  };
  const server = createServer({ noDelay: true }, (client) => {
    const upstream = connect(path);
    const pair = [client, upstream] as const;
    pairs.add(pair);
    for (const [from, to] of [pair, [upstream, client] as const]) {
      from.on('data', (data) => pass(to, data));
      from.on('error', () => undefined);
      from.on('close', () => {
        pairs.delete(pair);
        to.destroy();
      });
    }
  });
  const port = await listenLocally(server);
  const cut = () => {
    for (const [client, upstream] of pairs) {
      resetConnection(client);
      upstream.destroy();
    }
  };
  t.teardown(() => {
    cut();
    server.close();
  });
  return {
    port,
    delay: (ms) => {
      delayMs = ms;
    },
    pause: () => {
      isPaused = true;
    },
    resume: () => {
      isPaused = false;
      for (const write of held.splice(0)) write();
    },
    cut,
    open: () => pairs.size,
  };
}
