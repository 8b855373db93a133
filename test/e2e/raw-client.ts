import { once } from 'node:events';
import { createConnection, type Socket } from 'node:net';
import { setImmediate as nextTurn } from 'node:timers/promises';
import type { Test } from 'tap';
import { parseResponse, type RawResponse } from './response-parser.js';
import { PATIENCE_MS, within } from './until.js';

export interface RawClient {
  readonly socket: Socket;
  /** Writes each chunk with a system call of its own, as far as the kernel takes it. */
  readonly send: (...chunks: (string | Uint8Array)[]) => Promise<void>;
  /** The next response on the connection, strictly parsed. `method` is that of its request. */
  readonly next: (method?: string) => Promise<RawResponse>;
  /** Waits for the server's end of the connection; rejects if it sent something that was not taken by `next`. */
  readonly ended: () => Promise<void>;
  /** `send` and `next` in one. */
  readonly request: (text: string, method?: string) => Promise<RawResponse>;
  /** How many bytes wait to be taken by `next`. */
  readonly unread: () => number;
}

/** A connection that sends the bytes it is given and nothing else. The test's end closes it. */
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

  let pending: Buffer[] = [];
  let pendingLength = 0;
  let wanted = 1;
  let over: 'no' | 'ended' | Error = 'no';
  let wake = () => {};
  socket.on('data', (chunk: Buffer) => {
    pending.push(chunk);
    pendingLength += chunk.length;
    if (pendingLength >= wanted) wake();
  });
  socket.on('end', () => {
    over = over === 'no' ? 'ended' : over;
    wake();
  });
  socket.on('error', (error) => {
    over = error;
    wake();
  });

  const more = async (what: string): Promise<void> => {
    const woken = new Promise<void>((resolve) => {
      wake = resolve;
    });
    await within(`${what} (${pendingLength} bytes are here)`, woken, PATIENCE_MS);
  };

  const bytes = (): Buffer => {
    if (pending.length !== 1) pending = [Buffer.concat(pending, pendingLength)];
    return pending[0] ?? Buffer.alloc(0);
  };

  const next = async (method = 'GET'): Promise<RawResponse> => {
    for (;;) {
      const result = parseResponse(bytes(), method);
      if (result.complete) {
        pending = [bytes().subarray(result.length)];
        pendingLength -= result.length;
        wanted = 1;
        return result.response;
      }
      if (over !== 'no') {
        const seen = JSON.stringify(bytes().subarray(0, 200).toString('latin1'));
        throw new Error(`the connection is over (${String(over)}) after ${seen}`);
      }
      wanted = Math.max(result.atLeast, pendingLength + 1);
      await more('the rest of a response');
    }
  };

  const ended = async (): Promise<void> => {
    while (over === 'no') {
      wanted = Number.POSITIVE_INFINITY;
      await more('the end of the connection');
    }
    if (over !== 'ended') throw over;
    if (pendingLength > 0) {
      throw new Error(
        `unexpected bytes before the end: ${bytes().toString('latin1').slice(0, 200)}`,
      );
    }
  };

  const send = async (...chunks: (string | Uint8Array)[]): Promise<void> => {
    for (const chunk of chunks) {
      await new Promise<void>((resolve, reject) => {
        socket.write(chunk, (error) => (error ? reject(error) : resolve()));
      });
      // Lets answers be read between the chunks.
      if (chunks.length > 1) await nextTurn();
    }
  };

  return {
    socket,
    send,
    next,
    ended,
    request: async (text, method) => {
      await send(text);
      return next(method);
    },
    unread: () => pendingLength,
  };
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
