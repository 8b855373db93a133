import { createConnection } from 'node:net';
import { monitorEventLoopDelay } from 'node:perf_hooks';

/** Keep-alive connections that each send the next request when the response has arrived. */
export interface KeepAliveLoad {
  readonly counts: LoadCounts;
  /** The responses, counted by body. */
  readonly bodies: ReadonlyMap<string, number>;
  /** The longest time for which the system did not let the clients run, in ms. */
  readonly stalledMs: () => number;
  /** Lets requests in flight finish, then closes all connections. */
  readonly stop: () => Promise<void>;
}

/**
 * Whether clients may have lost connections because they did not run: a drain closes idle connections
 * after 500 ms. Such an attempt shows nothing about the server, and is to be repeated.
 */
export function hasStalled({ counts, stalledMs }: KeepAliveLoad): boolean {
  return counts.lost > 0 && stalledMs() > 200;
}

export interface LoadCounts {
  answered: number;
  /** Responses other than 200. */
  failed: number;
  /** Connections that ended or broke, whatever the cause. */
  lost: number;
  /** Responses that announce the end of the connection. */
  closing: number;
  errors: string[];
}

export interface LoadOptions {
  readonly host: string;
  readonly port: number;
  readonly connections: number;
  readonly target?: string;
  /**
   * Pause between a response and the next request: fixed, or random from the first to the
   * second value; 0 keeps the machine fully busy.
   */
  readonly pauseMs?: number | readonly [least: number, most: number];
  /** Requests that are sent at once; the responses are counted. */
  readonly pipelined?: number;
  /** Stop without an error when the server sends Connection: close. */
  readonly mayClose?: boolean;
}

/** Resolves when every connection is open and has received its first response. */
export async function startLoad(options: LoadOptions): Promise<KeepAliveLoad> {
  const counts: LoadCounts = { answered: 0, failed: 0, lost: 0, closing: 0, errors: [] };
  const load: Load = { options, counts, bodies: new Map(), running: true };
  const stalls = monitorEventLoopDelay({ resolution: 10 });
  stalls.enable();
  const all = Array.from({ length: options.connections }, () => keepAsking(load));
  await Promise.all(all.map(({ opened }) => opened));
  return {
    counts,
    bodies: load.bodies,
    stalledMs: () => stalls.max / 1e6,
    stop: async () => {
      load.running = false;
      await Promise.all(all.map(({ ended }) => ended));
      stalls.disable();
    },
  };
}

interface Load {
  readonly options: LoadOptions;
  readonly counts: LoadCounts;
  readonly bodies: Map<string, number>;
  running: boolean;
}

function keepAsking(load: Load): { opened: Promise<void>; ended: Promise<void> } {
  const { host, port, target = '/', pipelined = 1, mayClose = false, pauseMs = 0 } = load.options;
  const { counts } = load;
  const request = `GET ${target} HTTP/1.1\r\nHost: x\r\n\r\n`.repeat(pipelined);
  let onFirst = () => {};
  let onEnd = () => {};
  const opened = new Promise<void>((resolve) => (onFirst = resolve));
  const ended = new Promise<void>((resolve) => (onEnd = resolve));
  const socket = createConnection({ host, port, noDelay: true });
  let pending = '';
  let owed = pipelined;
  let isDone = false;

  function finish(isExpected: boolean, why: string): void {
    if (isDone) return;
    isDone = true;
    if (!isExpected) {
      counts.lost++;
      if (counts.errors.length < 5) counts.errors.push(why);
    }
    socket.destroy();
    onFirst();
    onEnd();
  }

  function ask(): void {
    if (!load.running) {
      finish(true, '');
      return;
    }
    owed = pipelined;
    socket.write(request);
  }

  socket.setEncoding('latin1');
  socket.on('connect', () => socket.write(request));
  socket.on('error', (error) => finish(false, error.message));
  socket.on('close', () => finish(false, `closed by the server, ${owed} answers owed`));
  socket.on('data', (chunk: string) => {
    pending += chunk;
    for (let answer = takeAnswer(pending); answer !== null; answer = takeAnswer(pending)) {
      pending = pending.slice(answer.length);
      count(load, answer);
      owed--;
      if (answer.closes) {
        finish(mayClose, 'Connection: close');
        return;
      }
    }
    if (owed > 0) return;
    onFirst();
    if (pauseMs === 0) ask();
    else setTimeout(ask, typeof pauseMs === 'number' ? pauseMs : between(...pauseMs));
  });
  return { opened, ended };
}

function between(least: number, most: number): number {
  return least + Math.random() * (most - least);
}

function count({ counts, bodies }: Load, { status, body, closes }: Answer): void {
  counts.answered++;
  if (status !== 200) counts.failed++;
  if (closes) counts.closing++;
  bodies.set(body, (bodies.get(body) ?? 0) + 1);
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
