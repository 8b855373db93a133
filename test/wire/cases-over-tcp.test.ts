import { fileURLToPath } from 'node:url';
import t from 'tap';
import { makeCertificate } from '../e2e/certificate.js';
import { type SeededRandom, seededRandom } from '../e2e/seeded-random.js';
import { type Server, startServer, tlsPortOf } from '../e2e/server.js';
import { type Address, converse, PROBE_RESPONSE } from './wire-client.js';
import { readWireCases, type WireCase } from './wire-document.js';
import { checkResponses } from './wire-expectation.js';

const DIRECTORY = fileURLToPath(new URL('.', import.meta.url));
const SPLITS = 3;
/** A longer request is not sent byte by byte. */
const LONGEST_DRIP = 1200;
/** A reset may overtake a response in our own kernel; then the case is tried again. */
const ATTEMPTS = 3;
/** Cases that run side by side. */
const LANES = 16;

type Wrong = string | undefined;

/** The ways in which a request is cut. */
function cutsOf({ request }: WireCase, random: SeededRandom): Buffer[][] {
  const cuts = [[request]];
  if (request.length <= LONGEST_DRIP) {
    cuts.push(Array.from(request, (_, at) => request.subarray(at, at + 1)));
  }
  for (let i = 0; i < SPLITS && request.length > 1; i++) {
    const at = random.int(1, request.length - 1);
    cuts.push([request.subarray(0, at), request.subarray(at)]);
  }
  return cuts;
}

async function runOnce(wire: WireCase, pieces: readonly Buffer[], address: Address) {
  const probed = wire.end === 'open';
  const { got, reset } = await converse(address, pieces, wire.end);
  const expected = probed ? [...wire.responses, PROBE_RESPONSE] : wire.responses;
  const wrong = checkResponses(got, expected, probed ? 'closed' : wire.end);
  return { wrong, reset };
}

/** Up to this many pieces, anywhere. */
const RECORDS = 6;

function recordsOf({ request }: WireCase, random: SeededRandom): Buffer[] {
  const places = Array.from({ length: RECORDS - 1 }, () => random.int(0, request.length));
  const ends = [...places.sort((a, b) => a - b), request.length];
  return ends
    .map((end, i) => request.subarray(ends[i - 1] ?? 0, end))
    .filter((piece) => piece.length > 0);
}

async function runCase(
  wire: WireCase,
  address: Address,
  cuts: readonly (readonly Buffer[])[],
): Promise<Wrong> {
  for (const pieces of cuts) {
    for (let attempt = 1; ; attempt++) {
      const { wrong, reset } = await runOnce(wire, pieces, address);
      if (!wrong) break;
      if (!reset || attempt === ATTEMPTS) {
        return `${wire.name}: in ${pieces.length} pieces (${pieces[0]?.length}): ${wrong}`;
      }
    }
  }
  return undefined;
}

const random = seededRandom();
t.comment(`MOONRING_TEST_SEED=${random.seed}`);

const byOptions = new Map<string, WireCase[]>();
for (const wire of readWireCases(DIRECTORY)) {
  const key = wire.options.join(' ');
  byOptions.set(key, [...(byOptions.get(key) ?? []), wire]);
}

for (const [options, cases] of byOptions) {
  t.test(options === '' ? 'the default limits' : options, async (t) => {
    const { cert, key } = makeCertificate(t);
    const tls = ['--tls-port', '0', '--tls-cert', cert, '--tls-key', key];
    const server: Server = await startServer(t, {
      app: 'test/wire/app.lua',
      args: [...tls, ...(options === '' ? [] : options.split(' '))],
    });
    const secure: Address = { host: server.host, port: await tlsPortOf(server), tls: true };
    const waiting = cases.values();
    const lane = async () => {
      for (const wire of waiting) {
        const wrong = await runCase(wire, server, cutsOf(wire, random)).catch(String);
        t.equal(wrong, undefined, wire.name);
        const inRecords = await runCase(wire, secure, [recordsOf(wire, random)]).catch(String);
        t.equal(inRecords, undefined, `${wire.name}, over TLS`);
      }
    };
    await Promise.all(Array.from({ length: LANES }, lane));
    t.strictSame(await server.stop(), { code: 0, signal: null });
  });
}
