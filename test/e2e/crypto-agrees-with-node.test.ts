import { createHash, createHmac, randomBytes } from 'node:crypto';
import t from 'tap';
import { startServer } from './server.js';

/*
 * moonring.crypto uses the OpenSSL of the node process it is loaded into, on the event loop's
 * thread and on workers: the results must be those of node:crypto.
 */

interface Order {
  readonly algorithm?: string;
  readonly encoding: 'hex' | 'base64' | 'base64url';
  /** base64, like data */
  readonly key?: string;
  readonly data: string;
}

const ALGORITHMS = ['sha1', 'sha256', 'sha384', 'sha512'];
const ENCODINGS = ['hex', 'base64', 'base64url'] as const;
/** Lengths around the block sizes of the digests. */
const LENGTHS = [0, 1, 2, 55, 56, 63, 64, 65, 111, 112, 127, 128, 129, 1000];

function ordersOf(length: number): Order[] {
  const data = randomBytes(length).toString('base64');
  const key = randomBytes(length).toString('base64');
  return ENCODINGS.flatMap((encoding) => [
    { encoding, data },
    ...ALGORITHMS.flatMap((algorithm) => [
      { algorithm, encoding, data },
      { algorithm, encoding, data, key },
    ]),
  ]);
}

function expected({ algorithm, encoding, key, data }: Order): string {
  const bytes = Buffer.from(data, 'base64');
  if (algorithm === undefined) return bytes.toString(encoding);
  if (key === undefined) return createHash(algorithm).update(bytes).digest(encoding);
  return createHmac(algorithm, Buffer.from(key, 'base64')).update(bytes).digest(encoding);
}

for (const dispatch of ['inline', 'worker']) {
  t.test(`digests and encodings agree with node:crypto, ${dispatch}`, async (t) => {
    const server = await startServer(t, { app: 'digests.lua', args: ['--dispatch', dispatch] });
    const orders = LENGTHS.flatMap(ordersOf);
    const response = await fetch(server.url, { method: 'POST', body: JSON.stringify(orders) });
    t.equal(response.status, 200);
    t.strictSame(await response.json(), orders.map(expected));
  });
}
