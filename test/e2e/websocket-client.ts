import { once } from 'node:events';
import type { Test } from 'tap';
import { WebSocket } from 'ws';
import type { Server } from './server.js';
import { within } from './until.js';

export interface Message {
  readonly text: string;
  readonly isBinary: boolean;
}

export interface Closed {
  readonly code: number;
  readonly reason: string;
}

/** A client whose messages are queued until they are read. */
export interface Client {
  readonly socket: WebSocket;
  readonly send: (message: string | Buffer) => void;
  /** The text of the next message. */
  readonly next: () => Promise<string>;
  readonly nextMessage: () => Promise<Message>;
  readonly closed: Promise<Closed>;
}

export interface ClientOptions {
  readonly protocols?: string[];
  readonly headers?: Record<string, string>;
  readonly url?: string;
}

/** Connects; the test's end closes it. */
export async function connect(
  t: Test,
  server: Server,
  path: string,
  { protocols = [], headers = {}, url }: ClientOptions = {},
): Promise<Client> {
  const target = url ?? `ws://${server.host}:${server.port}`;
  const socket = new WebSocket(target + path, protocols, {
    headers,
    perMessageDeflate: false,
    rejectUnauthorized: false,
  });
  const messages: Message[] = [];
  const waiting: ((message: Message) => void)[] = [];
  socket.on('message', (data, isBinary) => {
    const message = { text: String(data), isBinary };
    const take = waiting.shift();
    if (take) take(message);
    else messages.push(message);
  });
  const closed = new Promise<Closed>((resolve) => {
    socket.on('close', (code, reason) => resolve({ code, reason: String(reason) }));
  });
  t.teardown(() => socket.terminate());
  await within(`connecting to ${path}`, once(socket, 'open'));
  socket.on('error', () => undefined); // a reset: see `closed`
  const nextMessage = async () => {
    const message = messages.shift();
    if (message) return message;
    const arrives = new Promise<Message>((resolve) => waiting.push(resolve));
    return await within(`a message of ${path}`, arrives);
  };
  return {
    socket,
    send: (message) => socket.send(message),
    next: async () => (await nextMessage()).text,
    nextMessage,
    closed,
  };
}

/** The status with which the handshake is rejected. */
export async function refusal(
  server: Server,
  path: string,
  options: ClientOptions,
): Promise<number> {
  const socket = new WebSocket(
    `ws://${server.host}:${server.port}${path}`,
    options.protocols ?? [],
    { headers: options.headers ?? {} },
  );
  socket.on('error', () => undefined);
  const [, response] = await within(`a refusal of ${path}`, once(socket, 'unexpected-response'));
  socket.terminate();
  return response.statusCode;
}
