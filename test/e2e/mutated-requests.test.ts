import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import t from 'tap';
import { converse, PROBE, PROBE_RESPONSE } from '../wire/wire-client.js';
import { readWireCases } from '../wire/wire-document.js';
import { checkResponses } from '../wire/wire-expectation.js';
import { randomPieces, seededRandom } from './seeded-random.js';
import { startServer } from './server.js';
import { until } from './until.js';

/*
 * Mutated requests of the wire documents, sent in random pieces. The server must send only whole
 * responses, close when the test shuts down its side, and work as well as before.
 * MOONRING_TEST_SEED repeats a run; MOONRING_TEST_MUTANTS makes it longer.
 */

const MUTANTS = Number(process.env['MOONRING_TEST_MUTANTS'] ?? 3000);
const LANES = 16;
const LONGEST = 2000;
const GROWTH_MAX_BYTES = 32 * 1024 * 1024;
const WIRE = fileURLToPath(new URL('../wire', import.meta.url));

const WORDS = [
  '\r\n',
  '\r',
  '\n',
  '\r\n\r\n',
  ' ',
  '\t',
  '\0',
  ':',
  ',',
  ';',
  '0',
  'ffffffffffffffff',
  'chunked',
  'Transfer-Encoding: chunked\r\n',
  'Content-Length: 5\r\n',
  'Host: a\r\n',
  'Expect: 100-continue\r\n',
  'Connection: close\r\n',
  'GET / HTTP/1.1\r\nHost: a\r\n\r\n',
].map((word) => Buffer.from(word, 'latin1'));

const random = seededRandom();
t.comment(`MOONRING_TEST_SEED=${random.seed}`);

const seeds = readWireCases(WIRE)
  .map((wire) => wire.request)
  .filter((request) => request.length <= LONGEST);

function pick<T>(items: readonly T[]): T {
  return items[random.int(0, items.length - 1)] as T;
}

function splice(bytes: Buffer, at: number, remove: number, insert: Buffer): Buffer {
  return Buffer.concat([bytes.subarray(0, at), insert, bytes.subarray(at + remove)]);
}

function mutateOnce(bytes: Buffer): Buffer {
  const at = random.int(0, Math.max(bytes.length - 1, 0));
  const length = random.int(1, 8);
  switch (random.int(0, 5)) {
    case 0:
      return splice(bytes, at, 1, Buffer.from([random.int(0, 255)]));
    case 1:
      return splice(bytes, at, length, Buffer.alloc(0));
    case 2:
      return splice(bytes, at, 0, pick(WORDS));
    case 3:
      return splice(bytes, at, 0, bytes.subarray(at, at + length));
    case 4:
      return splice(bytes, at, 0, Buffer.alloc(random.int(1, 300), bytes[at] ?? 0));
    default:
      return Buffer.concat([bytes.subarray(0, at), pick(seeds)]);
  }
}

function mutant(): Buffer {
  let bytes = pick(seeds);
  for (let i = random.int(1, 4); i > 0; i--) bytes = mutateOnce(bytes);
  return bytes;
}

/**
 * Only whole responses. A response to HEAD has a length and no content: it is recognised by what
 * follows, the next response or nothing.
 */
function isWhole(got: Buffer): boolean {
  for (let at = 0; at < got.length; ) {
    const headEnd = got.indexOf('\r\n\r\n', at);
    if (headEnd < 0 || got.toString('latin1', at, at + 9) !== 'HTTP/1.1 ') return false;
    const head = got.toString('latin1', at, headEnd + 2);
    const length = Number(/\r\nContent-Length: (\d+)\r\n/.exec(head)?.[1] ?? 0);
    at = headEnd + 4;
    const bodiless = at === got.length || got.toString('latin1', at, at + 9) === 'HTTP/1.1 ';
    if (!bodiless) at += length;
    if (at > got.length) return false;
  }
  return true;
}

function residentBytes(pid: number): number {
  return Number(readFileSync(`/proc/${pid}/statm`, 'utf8').split(' ')[1]) * 4096;
}

const server = await startServer(t, { app: 'test/wire/app.lua' });
const reactor = server.reactorPids()[0] ?? 0;
const canMeasure = process.platform === 'linux';
const before = canMeasure ? residentBytes(reactor) : 0;

t.test(`${MUTANTS} mutants`, async (t) => {
  let left = MUTANTS;
  const strange: string[] = [];
  const lane = async () => {
    while (left-- > 0) {
      const bytes = mutant();
      const pieces = bytes.length > 0 ? randomPieces(bytes, random, 200) : [];
      const { got, reset } = await converse(server, pieces, 'waiting');
      if (!reset && !isWhole(got)) strange.push(JSON.stringify(bytes.toString('latin1')));
    }
  };
  await Promise.all(Array.from({ length: LANES }, lane));
  t.strictSame(strange, []);
});

t.test('the server works as well as before', async (t) => {
  const { got } = await converse(server, [Buffer.from(PROBE)], 'closed');
  t.equal(checkResponses(got, [PROBE_RESPONSE], 'closed'), undefined);
  t.strictSame(server.reactorPids(), [reactor], 'no reactor was replaced');
  // Free memory is returned a little later.
  if (canMeasure) {
    const grown = () => residentBytes(reactor) - before;
    t.comment(`${grown()} bytes more`);
    await until('memory is as before', () => grown() < GROWTH_MAX_BYTES);
  }
  t.strictSame(await server.stop(), { code: 0, signal: null });
});
