import type { Test } from 'tap';
import { connectRaw, type RawClient } from './raw-client.js';
import { seededRandom } from './seeded-random.js';

/** Keep-alive connections that send all kinds of requests and check every byte of the responses. */
export interface CheckedClients {
  readonly counts: CheckedCounts;
  /** Lets requests in flight finish, then closes all connections. */
  readonly stop: () => Promise<void>;
}

export interface CheckedCounts {
  answered: number;
  /** 503 and the end of the connection: the process that had the request died. */
  refused: number;
  /** Connections that ended with a request in flight and no response. */
  unanswered: number;
  /** Connections that ended between requests. */
  closedIdle: number;
  /** Responses that no server may send. */
  wrong: string[];
  /** From the request to the end of its response. */
  slowestMs: number;
}

interface Exchange {
  readonly text: string;
  readonly method: string;
  readonly body: string;
}

type Address = { readonly host: string; readonly port: number } | { readonly path: string };

export async function startCheckedClients(
  t: Test,
  address: Address,
  connections: number,
): Promise<CheckedClients> {
  const counts = {
    answered: 0,
    refused: 0,
    unanswered: 0,
    closedIdle: 0,
    wrong: [],
    slowestMs: 0,
  };
  const state = { counts, running: true };
  const first = await Promise.all(
    Array.from({ length: connections }, () => connectRaw(t, address)),
  );
  const { seed, int } = seededRandom();
  t.comment(`MOONRING_TEST_SEED=${seed}`);
  const random = (below: number) => int(0, below - 1);
  const all = first.map((client) => keepAsking(t, state, address, client, random));
  // If `stop` is not called, nothing else reports it.
  for (const each of all) each.catch(() => undefined);
  return {
    counts,
    stop: async () => {
      state.running = false;
      await Promise.all(all);
    },
  };
}

async function keepAsking(
  t: Test,
  state: { readonly counts: CheckedCounts; running: boolean },
  address: Address,
  opened: RawClient,
  random: (below: number) => number,
): Promise<void> {
  const { counts } = state;
  let client = opened;
  while (state.running) {
    const batch = Array.from({ length: random(8) === 0 ? 3 : 1 }, () => makeExchange(random));
    const outcome = await exchange(t, client, batch, random, counts);
    if (outcome === 'open') continue;
    client.socket.destroy();
    if (state.running) client = await connectRaw(t, address);
  }
  client.socket.destroy();
}

async function exchange(
  t: Test,
  client: RawClient,
  batch: readonly Exchange[],
  random: (below: number) => number,
  counts: CheckedCounts,
): Promise<'open' | 'closed'> {
  const text = batch.map((each) => each.text).join('');
  const cut = random(text.length);
  const sentMs = performance.now();
  try {
    if (random(4) === 0) await client.send(text.slice(0, cut), text.slice(cut));
    else await client.send(text);
  } catch (error) {
    t.comment('while a request was sent:', String(error));
    counts.closedIdle++;
    return 'closed';
  }
  for (const { method, body } of batch) {
    let response: Awaited<ReturnType<RawClient['next']>>;
    try {
      response = await client.next(method);
    } catch (error) {
      const message = String(error);
      if (/the connection is over/.test(message)) {
        t.comment(method, message);
        counts.unanswered++;
      } else {
        counts.wrong.push(message);
      }
      return 'closed';
    }
    counts.slowestMs = Math.max(counts.slowestMs, performance.now() - sentMs);
    if (response.status === 503) {
      counts.refused++;
      return 'closed';
    }
    const got = response.body.toString('latin1');
    if (response.status !== 200 || got !== body) {
      counts.wrong.push(`${response.status} ${got.slice(0, 60)}, not ${body.slice(0, 60)}`);
      return 'closed';
    }
    counts.answered++;
  }
  return 'open';
}

let unique = 0;

function makeExchange(random: (below: number) => number): Exchange {
  const number = unique++;
  const host = 'Host: a\r\n';
  const kind = random(10);
  if (kind < 6) {
    const size = kind < 5 ? random(200) : random(64 * 1024);
    const path = `/fill/${size}/${number}`;
    const method = random(12) === 0 ? 'HEAD' : 'GET';
    const text = `${method} ${path} HTTP/1.1\r\n${host}\r\n`;
    return { text, method, body: method === 'HEAD' ? '' : fill(path, size) };
  }
  const body = fill(`body ${number}`, kind < 9 ? random(300) + 1 : random(20_000) + 1);
  if (kind === 6) {
    const chunks = `${body.length.toString(16)}\r\n${body}\r\n0\r\n\r\n`;
    const text = `POST /echo HTTP/1.1\r\n${host}Transfer-Encoding: chunked\r\n\r\n${chunks}`;
    return { text, method: 'POST', body };
  }
  const text = `POST /echo HTTP/1.1\r\n${host}Content-Length: ${body.length}\r\n\r\n${body}`;
  return { text, method: 'POST', body };
}

function fill(text: string, size: number): string {
  return `${text} `.repeat(Math.ceil(size / (text.length + 1))).slice(0, size);
}
