import t, { type Test } from 'tap';
import { connectRaw, requestText } from './raw-client.js';
import { randomPieces, type SeededRandom, seededRandom } from './seeded-random.js';
import { startServer } from './server.js';

const LARGEST = 40_000;
const SWEEP_STEP = 101;
const BATCH = 40;
const LONGEST_PIECE = 20_000;
const LONGEST_CHUNK = 10_000;

type Encode = (body: Buffer, random: SeededRandom) => Buffer;

const random = seededRandom();
t.comment(`MOONRING_TEST_SEED=${random.seed}`);
const server = await startServer(t);

function sizesToTry(): number[] {
  const sizes = new Set<number>();
  for (let power = 1; power - 2 <= LARGEST; power *= 2) {
    for (let size = power - 2; size <= power + 2; size++) sizes.add(size);
  }
  for (let size = 0; size <= LARGEST; size += SWEEP_STEP) sizes.add(size);
  sizes.add(LARGEST);
  return [...sizes].filter((size) => size >= 0 && size <= LARGEST).sort((a, b) => a - b);
}

// The bytes never repeat, so that a lost, duplicated or shifted piece is noticed.
function makeBody(size: number): Buffer {
  const body = Buffer.alloc(size);
  for (let i = 0; i < size; i++) body[i] = random.int(0, 255);
  return body;
}

const withLength: Encode = (body) => {
  const headers = { 'Content-Length': String(body.length) };
  return Buffer.concat([Buffer.from(requestText('/echo', { method: 'POST', headers })), body]);
};

const chunked: Encode = (body, random) => {
  const headers = { 'Transfer-Encoding': 'chunked' };
  const parts: Buffer[] = [Buffer.from(requestText('/echo', { method: 'POST', headers }))];
  for (const piece of randomPieces(body, random, LONGEST_CHUNK)) {
    parts.push(Buffer.from(`${piece.length.toString(16)}\r\n`), piece, Buffer.from('\r\n'));
  }
  return Buffer.concat([...parts, Buffer.from('0\r\n\r\n')]);
};

async function echoBatch(t: Test, sizes: readonly number[], encode: Encode): Promise<string[]> {
  const client = await connectRaw(t, server);
  const bodies = sizes.map(makeBody);
  const text = bodies.flatMap((body) => [
    encode(body, random),
    Buffer.from(requestText('/') + requestText('/headers')),
  ]);
  const sent = client.send(...randomPieces(Buffer.concat(text), random, LONGEST_PIECE));
  const wrong: string[] = [];
  for (const body of bodies) {
    const echo = await client.next('POST');
    if (echo.status !== 200 || !echo.body.equals(body)) wrong.push(`${body.length}: the body`);
    const greeting = await client.next();
    if (greeting.body.toString() !== 'hello, world\n') wrong.push(`${body.length}: what follows`);
    const headers = await client.next();
    if (headers.body.toString() !== 'host: localhost\n') wrong.push(`${body.length}: the third`);
  }
  await sent;
  client.socket.destroy();
  return wrong;
}

async function echoAll(t: Test, encode: Encode): Promise<void> {
  const sizes = sizesToTry();
  for (let at = 0; at < sizes.length; at += BATCH) {
    const batch = sizes.slice(at, at + BATCH);
    const wrong = await echoBatch(t, batch, encode);
    t.strictSame(wrong, [], `${batch.length} bodies of ${batch[0]} to ${batch.at(-1)} bytes`);
  }
}

t.test('with Content-Length', (t) => echoAll(t, withLength));
t.test('chunked', (t) => echoAll(t, chunked));
