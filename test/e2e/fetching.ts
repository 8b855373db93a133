import { once } from 'node:events';
import { createServer, type RequestListener } from 'node:http';
import {
  type AddressInfo,
  createServer as createRawServer,
  type Server,
  type Socket,
} from 'node:net';
import type { Test } from 'tap';
import type { Server as Moonring } from './server.js';

/** What test/e2e/apps/fetching.lua should do. */
export interface Order {
  readonly url: string;
  readonly options?: Readonly<Record<string, unknown>>;
  readonly pieces?: readonly string[];
  readonly times?: number;
  readonly take?: 'body' | 'size' | 'close' | 'nothing';
}

export interface Outcome {
  readonly status?: number;
  readonly url?: string;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: string;
  readonly error?: string;
}

/** Makes the server send a request. */
export async function order(server: Moonring, what: Order): Promise<Outcome> {
  const response = await fetch(server.url, { method: 'POST', body: JSON.stringify(what) });
  const text = await response.text();
  if (response.status !== 200) throw new Error(`${response.status}: ${text}`);
  return JSON.parse(text) as Outcome;
}

export interface Upstream {
  readonly url: string;
  /** Connections accepted so far. */
  readonly connections: () => number;
  /** Closes the listener and all connections. */
  readonly close: () => Promise<void>;
}

async function listening(t: Test, server: Server, path?: string): Promise<Upstream> {
  const sockets = new Set<Socket>();
  let connections = 0;
  server.on('connection', (socket: Socket) => {
    connections += 1;
    sockets.add(socket);
    socket.on('error', () => {});
    socket.on('close', () => sockets.delete(socket));
  });
  if (path === undefined) server.listen(0, '127.0.0.1');
  else server.listen(path);
  await once(server, 'listening');
  const close = async (): Promise<void> => {
    if (!server.listening) return;
    const closed = once(server, 'close');
    server.close();
    for (const socket of sockets) socket.destroy();
    await closed;
  };
  t.teardown(close);
  const port = path === undefined ? (server.address() as AddressInfo).port : 80;
  return { url: `http://127.0.0.1:${port}`, connections: () => connections, close };
}

/** A node:http server. */
export function upstream(t: Test, listener: RequestListener, path?: string): Promise<Upstream> {
  // Connections stay open between requests, however long the system lets a process wait.
  const server = createServer({ keepAlive: true, keepAliveTimeout: 0 }, listener);
  return listening(t, server, path);
}

/** A server that passes each connection to `serve` once bytes of a request have arrived. */
export function rawUpstream(
  t: Test,
  serve: (socket: Socket, request: string) => void,
): Promise<Upstream> {
  const server = createRawServer({ allowHalfOpen: true }, (socket) => {
    socket.on('end', () => socket.end());
    socket.on('data', (piece) => serve(socket, piece.toString('latin1')));
  });
  return listening(t, server);
}
