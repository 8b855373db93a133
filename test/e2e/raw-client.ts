import { once } from 'node:events';
import { createConnection, type Socket } from 'node:net';
import { setImmediate as nextTurn } from 'node:timers/promises';
import type { Test } from 'tap';
import { parseResponse, type RawResponse } from './response-parser.js';
import { PATIENCE_MS, within } from './until.js';

export interface RawClient {
  readonly socket: Socket;
  /** Writes each chunk with a separate system call, as far as the kernel accepts it. */
  readonly send: (...chunks: (string | Uint8Array)[]) => Promise<void>;
  /** The next response on the connection, strictly parsed. `method` is that of the request. */
  readonly next: (method?: string) => Promise<RawResponse>;
  /**
   * Waits for the server to close the connection; rejects if it sent something that `next` did not
   * take.
   */
  readonly ended: () => Promise<void>;
  /** `send` and `next` in one call. */
  readonly request: (text: string, method?: string) => Promise<RawResponse>;
  /** How many received bytes have not been taken by `next`. */
  readonly unread: () => number;
}

/** A connection that sends only the bytes it is given. The test's end closes it. */
export async function connectRaw(
  t: Test,
  address: { readonly host: string; readonly port: number } | { readonly path: string },
): Promise<RawClient> {
  const options = { allowHalfOpen: true, noDelay: true };
  const socket =
    'path' in address
      ? createConnection({ ...options, path: address.path })
      : createConnection({ ...options, host: address.host, port: address.port });
  t.teardown(() => socket.destroy());
  await once(socket, 'connect');
  const inbox = openInbox(socket);

  const next = async (method = 'GET'): Promise<RawResponse> => {
    for (;;) {
      const result = parseResponse(inbox.bytes(), method);
      if (result.complete) {
        inbox.take(result.length);
        return result.response;
      }
      if (inbox.over() !== 'no') {
        const seen = JSON.stringify(inbox.bytes().toString('latin1', 0, 200));
        throw new Error(`the connection is over (${String(inbox.over())}) after ${seen}`);
      }
      await inbox.more('the rest of a response', result.atLeast);
    }
  };

  const ended = async (): Promise<void> => {
    while (inbox.over() === 'no') {
      await inbox.more('the end of the connection', Number.POSITIVE_INFINITY);
    }
    const over = inbox.over();
    if (over instanceof Error) throw over;
    if (inbox.length() > 0) {
      const seen = JSON.stringify(inbox.bytes().toString('latin1', 0, 200));
      throw new Error(`unexpected bytes before the end: ${seen}`);
    }
  };

  const send = (...chunks: (string | Uint8Array)[]) => writeChunks(socket, chunks);
  const request = async (text: string, method?: string): Promise<RawResponse> => {
    await send(text);
    return next(method);
  };
  return { socket, send, next, ended, request, unread: inbox.length };
}

interface Inbox {
  /** Bytes received and not yet taken, in one piece. */
  readonly bytes: () => Buffer;
  readonly length: () => number;
  readonly take: (length: number) => void;
  /** Whether the server has closed the connection, or the error that broke it. */
  readonly over: () => 'no' | 'ended' | Error;
  /** Waits until there is new data and `atLeast` bytes in total, or the connection has ended. */
  readonly more: (what: string, atLeast: number) => Promise<void>;
}

function openInbox(socket: Socket): Inbox {
  let pieces: Buffer[] = [];
  let length = 0;
  let wanted = 0;
  let over: 'no' | 'ended' | Error = 'no';
  let wake = () => {};
  socket.on('data', (piece: Buffer) => {
    pieces.push(piece);
    length += piece.length;
    if (length >= wanted) wake();
  });
  socket.on('end', () => {
    if (over === 'no') over = 'ended';
    wake();
  });
  socket.on('error', (error) => {
    over = error;
    wake();
  });
  const bytes = (): Buffer => {
    if (pieces.length !== 1) pieces = [Buffer.concat(pieces, length)];
    return pieces[0] ?? Buffer.alloc(0);
  };
  return {
    bytes,
    length: () => length,
    take: (taken) => {
      pieces = [bytes().subarray(taken)];
      length -= taken;
    },
    over: () => over,
    more: async (what, atLeast) => {
      wanted = Math.max(atLeast, length + 1);
      const woken = new Promise<void>((resolve) => {
        wake = resolve;
      });
      await within(`${what} (${length} bytes are here)`, woken, PATIENCE_MS);
    },
  };
}

async function writeChunks(socket: Socket, chunks: (string | Uint8Array)[]): Promise<void> {
  for (const chunk of chunks) {
    await new Promise<void>((resolve, reject) => {
      socket.write(chunk, (error) => (error ? reject(error) : resolve()));
    });
    // Lets responses be read between the chunks.
    if (chunks.length > 1) await nextTurn();
  }
}

export interface RequestParts {
  readonly method?: string;
  readonly version?: '1.0' | '1.1';
  readonly headers?: Readonly<Record<string, string>>;
}

/** The text of a request without a body. */
export function requestText(target: string, parts: RequestParts = {}): string {
  const { method = 'GET', version = '1.1', headers = {} } = parts;
  const lines = Object.entries({ Host: 'localhost', ...headers }).map(
    ([name, value]) => `${name}: ${value}\r\n`,
  );
  return `${method} ${target} HTTP/${version}\r\n${lines.join('')}\r\n`;
}
