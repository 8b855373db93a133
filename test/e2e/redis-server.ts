import { createConnection, createServer, type Server as NetServer, type Socket } from 'node:net';
import { join } from 'node:path';
import { createServer as createTlsServer, type TlsOptions } from 'node:tls';
import type { Test } from 'tap';
import { listenLocally } from './listening.js';
import { type Program, startProgram } from './program.js';
import { resetConnection } from './reset-connection.js';
import { type Server, type ServerOptions, startServer } from './server.js';
import { socketDirectory } from './socket-directory.js';

/** A real redis-server on a Unix socket only, so that it needs no port. */
export interface Redis {
  readonly path: string;
  readonly url: string;
  readonly pid: () => number;
  readonly kill: (signal: NodeJS.Signals) => void;
  /** Resolves when the process has exited. */
  readonly ended: () => Promise<void>;
  /** Starts it again after it has exited. */
  readonly restart: () => Promise<void>;
}

/** `args`: options of redis-server. The test's end stops it. */
export async function startRedis(t: Test, ...args: string[]): Promise<Redis> {
  const directory = socketDirectory(t);
  const path = join(directory, 'redis.sock');
  let program: Program | undefined;
  const start = async () => {
    const options = ['--port', '0', '--unixsocket', path, '--save', '', '--dir', directory];
    const debug = ['--enable-debug-command', 'local'];
    const all = [...options, ...debug, ...args];
    program = await startProgram('redis-server', all, () => answers(path));
  };
  const end = async () => {
    program?.child.kill('SIGKILL');
    await program?.ended;
  };
  await start();
  t.teardown(end);
  return {
    path,
    url: `unix://${path}`,
    pid: () => program?.child.pid ?? 0,
    kill: (signal) => void program?.child.kill(signal),
    ended: async () => void (await program?.ended),
    restart: start,
  };
}

function answers(path: string): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = createConnection(path);
    const end = (result: boolean) => {
      socket.destroy();
      resolve(result);
    };
    socket.on('error', () => end(false));
    socket.on('close', () => end(false));
    // A PONG, or an error that a password is needed.
    socket.on('data', (data) => end(/^[+-](PONG|NOAUTH)/.test(data.toString())));
    socket.write('PING\r\n');
  });
}

/** A TCP relay to a Unix socket: the test's network, which can be slow, silent or interrupted. */
export interface Relay {
  readonly port: number;
  readonly url: string;
  /** The number of connections so far. */
  readonly accepted: () => number;
  readonly open: ReadonlySet<Socket>;
  /** With true nothing passes, until it is called with false. */
  readonly hold: (held: boolean) => void;
  /** Replies pass in pieces of that many bytes, that many milliseconds apart. */
  readonly slow: (bytes: number, ms: number) => void;
  /** Resets all connections. */
  readonly cut: () => void;
  /** From now on connections are reset as soon as they are established. */
  readonly refuse: (refused: boolean) => void;
}

export async function startRelay(t: Test, path: string, tls?: TlsOptions): Promise<Relay> {
  const open = new Set<Socket>();
  const pairs = new Set<[Socket, Socket]>();
  let count = 0;
  let held = false;
  let refused = false;
  let piece = { bytes: 0, ms: 0 };
  const onConnection = (socket: Socket) => {
    count += 1;
    socket.on('error', () => undefined);
    if (refused) {
      resetConnection(socket);
      return;
    }
    const upstream = createConnection(path);
    const pair: [Socket, Socket] = [socket, upstream];
    open.add(socket);
    pairs.add(pair);
    upstream.on('error', () => undefined);
    socket.on('close', () => {
      open.delete(socket);
      pairs.delete(pair);
      upstream.destroy();
    });
    upstream.on('close', () => socket.destroy());
    socket.on('data', (data) => upstream.write(data));
    let sent = Promise.resolve();
    upstream.on('data', (data) => {
      const { bytes, ms } = piece;
      if (bytes === 0) {
        sent = sent.then(() => void socket.write(data));
        return;
      }
      for (let at = 0; at < data.length; at += bytes) {
        const part = data.subarray(at, at + bytes);
        sent = sent.then(async () => {
          socket.write(part);
          if (ms > 0) await new Promise((resolve) => setTimeout(resolve, ms));
        });
      }
    });
    if (held) for (const side of pair) side.pause();
  };
  const server: NetServer = tls
    ? createTlsServer(tls, onConnection)
    : createServer({ noDelay: true }, onConnection);
  server.on('tlsClientError', () => undefined);
  const port = await listenLocally(server);
  const cut = () => {
    for (const socket of open) {
      if (tls) socket.destroy();
      else resetConnection(socket);
    }
  };
  t.teardown(() => {
    cut();
    server.close();
  });
  return {
    port,
    url: `redis://127.0.0.1:${port}`,
    accepted: () => count,
    open,
    hold: (isHeld) => {
      held = isHeld;
      for (const pair of pairs) for (const side of pair) isHeld ? side.pause() : side.resume();
    },
    slow: (bytes, ms) => {
      piece = { bytes, ms };
    },
    cut,
    refuse: (isRefused) => {
      refused = isRefused;
    },
  };
}

/** A server that implements the protocol as badly as the test wants. */
export interface FakeRedis {
  readonly url: string;
  readonly accepted: () => number;
  readonly open: ReadonlySet<Socket>;
}

/**
 * `onCommand` is called with each command except the greeting, and the number of its connection,
 * from 1.
 */
export async function startFakeRedis(
  t: Test,
  onCommand: (socket: Socket, command: readonly string[], connection: number) => void,
): Promise<FakeRedis> {
  const open = new Set<Socket>();
  let count = 0;
  const server = createServer({ noDelay: true }, (socket) => {
    count += 1;
    const connection = count;
    open.add(socket);
    socket.on('close', () => open.delete(socket));
    socket.on('error', () => undefined);
    let rest = '';
    socket.on('data', (data) => {
      rest += data.toString('latin1');
      for (let found = takeCommand(rest); found; found = takeCommand(rest)) {
        rest = rest.slice(found.length);
        if (found.command[0] === 'HELLO') socket.write('%1\r\n+proto\r\n:3\r\n');
        else onCommand(socket, found.command, connection);
      }
    });
  });
  const port = await listenLocally(server);
  t.teardown(() => {
    for (const socket of open) socket.destroy();
    server.close();
  });
  return { url: `redis://127.0.0.1:${port}`, accepted: () => count, open };
}

/** The first command of the text, if it is complete. */
function takeCommand(text: string): { command: string[]; length: number } | undefined {
  let at = 0;
  const line = () => {
    const end = text.indexOf('\r\n', at);
    if (end < 0) return undefined;
    const found = text.slice(at + 1, end);
    at = end + 2;
    return Number(found);
  };
  const count = line();
  if (count === undefined) return undefined;
  const command: string[] = [];
  for (let i = 0; i < count; i += 1) {
    const length = line();
    if (length === undefined || text.length < at + length + 2) return undefined;
    command.push(text.slice(at, at + length));
    at += length + 2;
  }
  return { command, length: at };
}

/** A server whose handler runs Lua code, with a client of the Redis at `url`: apps/redis.lua. */
export interface RedisApp {
  readonly server: Server;
  /** What the code returns, as text. */
  readonly lua: (code: string) => Promise<string>;
}

export async function startRedisApp(
  t: Test,
  url: string,
  options: ServerOptions & { readonly client?: Readonly<Record<string, unknown>> } = {},
): Promise<RedisApp> {
  const { client: own = {}, args = ['--dispatch', 'inline'], ...rest } = options;
  // Deadlines are for tests of deadlines: a busy machine needs seconds for anything.
  const client = { timeout: 30, connect_timeout: 30, ...own };
  const server = await startServer(t, {
    app: 'redis.lua',
    args,
    ...rest,
    env: { MOONRING_TEST_REDIS: url, MOONRING_TEST_REDIS_OPTIONS: JSON.stringify(client) },
  });
  const lua = async (code: string) => {
    const response = await fetch(server.url, { method: 'POST', body: code });
    const text = await response.text();
    if (response.status !== 200) {
      const errors = server.logs.filter(({ level }) => Number(level) >= 50).map(({ msg }) => msg);
      throw new Error(`status ${response.status} for ${code}: ${errors.join('\n')}`);
    }
    return text;
  };
  return { server, lua };
}
