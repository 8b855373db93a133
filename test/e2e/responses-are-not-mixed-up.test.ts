import { createHash } from 'node:crypto';
import t from 'tap';
import { connectRaw, type RawClient, requestText } from './raw-client.js';
import { randomPieces, type SeededRandom, seededRandom } from './seeded-random.js';
import { startServer } from './server.js';

/** Manually: CROSS_TALK_SECONDS=60 CROSS_TALK_CONNECTIONS=400 npm run test:e2e */
const SECONDS = Number(process.env['CROSS_TALK_SECONDS'] ?? 1);
const CONNECTIONS = Number(process.env['CROSS_TALK_CONNECTIONS'] ?? 400);
const LONGEST = 16 * 1024;

/** A text of random length, different for each request. */
function token(random: SeededRandom, connection: number, request: number): Buffer {
  const length = random.int(1, 2 ** random.int(4, Math.log2(LONGEST)));
  const seed = createHash('sha256').update(`${connection}/${request}`).digest('hex');
  return Buffer.from(`${seed} `.repeat(Math.ceil(length / 65)).slice(0, length) + seed);
}

async function talk(client: RawClient, random: SeededRandom, connection: number): Promise<number> {
  const endMs = performance.now() + SECONDS * 1000;
  let requests = 0;
  while (performance.now() < endMs) {
    const tokens = Array.from({ length: random.int(1, 3) }, () =>
      token(random, connection, requests++),
    );
    const bytes = Buffer.concat(
      tokens.flatMap((body) => [
        Buffer.from(
          requestText('/echo', {
            method: 'POST',
            headers: { 'Content-Length': String(body.length) },
          }),
        ),
        body,
      ]),
    );
    await client.send(...randomPieces(bytes, random, 8192));
    for (const body of tokens) {
      const response = await client.next('POST');
      if (response.status !== 200 || !response.body.equals(body)) {
        throw new Error(`connection ${connection} got the wrong response to request ${requests}`);
      }
    }
  }
  return requests;
}

for (const mode of ['inline', 'worker']) {
  t.test(`every response belongs to its request, ${mode}`, async (t) => {
    const random = seededRandom();
    t.comment(`seed ${random.seed}`);
    const server = await startServer(t, {
      app: 'dispatch.lua',
      args: ['--dispatch', mode, '--threads', '2'],
    });
    const clients = await Promise.all(
      Array.from({ length: CONNECTIONS }, () => connectRaw(t, server)),
    );
    const counts = await Promise.all(clients.map((client, i) => talk(client, random, i)));
    const total = counts.reduce((sum, count) => sum + count, 0);
    t.ok(total >= CONNECTIONS, `${total} answers compared`);
    t.strictSame(await server.stop(), { code: 0, signal: null });
  });
}
