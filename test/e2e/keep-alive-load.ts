import { createConnection, type Socket } from 'node:net';

/** Keep-alive connections that each send the next request when the answer is there. */
export interface KeepAliveLoad {
  readonly counts: LoadCounts;
  /** The answers by their body. */
  readonly bodies: ReadonlyMap<string, number>;
  /** Lets what is in flight finish, then closes all connections. */
  readonly stop: () => Promise<void>;
}

export interface LoadCounts {
  answered: number;
  /** Answers other than 200. */
  failed: number;
  /** Connections that ended or broke, whatever the cause. */
  lost: number;
  /** Answers that announce the end of the connection. */
  closing: number;
  errors: string[];
}

export interface LoadOptions {
  readonly host: string;
  readonly port: number;
  readonly connections: number;
  readonly target?: string;
  /** Between an answer and the next request; 0 keeps the machine fully busy. */
  readonly pauseMs?: number;
  /** Requests that are sent at once; the answers are counted. */
  readonly pipelined?: number;
  /** Stop without complaint when the server says Connection: close. */
  readonly mayClose?: boolean;
}

/** Resolves when every connection is open and has had its first answer. */
export async function startLoad(options: LoadOptions): Promise<KeepAliveLoad> {
  const {
    host,
    port,
    connections,
    target = '/',
    pipelined = 1,
    mayClose = false,
    pauseMs = 0,
  } = options;
  const request = Buffer.from(`GET ${target} HTTP/1.1\r\nHost: x\r\n\r\n`.repeat(pipelined));
  const counts: LoadCounts = { answered: 0, failed: 0, lost: 0, closing: 0, errors: [] };
  const bodies = new Map<string, number>();
  let running = true;
  const opened: Promise<void>[] = [];
  const ended: Promise<void>[] = [];

  for (let i = 0; i < connections; i++) {
    let onFirst = () => {};
    let onEnd = () => {};
    opened.push(new Promise((resolve) => (onFirst = resolve)));
    ended.push(new Promise((resolve) => (onEnd = resolve)));
    const socket: Socket = createConnection({ host, port, noDelay: true });
    let pending = '';
    let owed = pipelined;
    let isDone = false;
    const finish = (isExpected: boolean, why: string) => {
      if (isDone) return;
      isDone = true;
      if (!isExpected) {
        counts.lost++;
        if (counts.errors.length < 5) counts.errors.push(why);
      }
      socket.destroy();
      onFirst();
      onEnd();
    };
    socket.setEncoding('latin1');
    socket.on('connect', () => socket.write(request));
    socket.on('error', (error) => finish(false, error.message));
    socket.on('close', () => finish(false, `closed by the server, ${owed} answers owed`));
    socket.on('data', (chunk: string) => {
      pending += chunk;
      for (let answer = takeAnswer(pending); answer !== null; answer = takeAnswer(pending)) {
        pending = pending.slice(answer.length);
        counts.answered++;
        owed--;
        if (answer.status !== 200) counts.failed++;
        bodies.set(answer.body, (bodies.get(answer.body) ?? 0) + 1);
        if (answer.closes) {
          counts.closing++;
          finish(mayClose, 'Connection: close');
          return;
        }
      }
      if (owed > 0) return;
      onFirst();
      if (!running) {
        finish(true, '');
        return;
      }
      owed = pipelined;
      if (pauseMs === 0) {
        socket.write(request);
        return;
      }
      setTimeout(() => {
        if (running) socket.write(request);
        else finish(true, '');
      }, pauseMs);
    });
  }
  await Promise.all(opened);
  return {
    counts,
    bodies,
    stop: async () => {
      running = false;
      await Promise.all(ended);
    },
  };
}

interface Answer {
  readonly status: number;
  readonly body: string;
  readonly closes: boolean;
  readonly length: number;
}

function takeAnswer(text: string): Answer | null {
  const end = text.indexOf('\r\n\r\n');
  if (end < 0) return null;
  const head = text.slice(0, end);
  const bodyLength = Number(/\r\ncontent-length: (\d+)/i.exec(head)?.[1] ?? 0);
  const length = end + 4 + bodyLength;
  if (text.length < length) return null;
  return {
    status: Number(head.slice(9, 12)),
    body: text.slice(end + 4, length),
    closes: /\r\nconnection: close/i.test(head),
    length,
  };
}
