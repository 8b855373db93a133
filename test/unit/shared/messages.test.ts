import { randomInt } from 'node:crypto';
import { isDeepStrictEqual } from 'node:util';
import t from 'tap';
import { MoonringError } from '../../../src/shared/errors.js';
import {
  decodeToMaster,
  decodeToReactor,
  type ToMaster,
  type ToReactor,
} from '../../../src/shared/messages.js';
import { reactorOptions } from '../reactor-options.js';

const TO_REACTOR: readonly ToReactor[] = [
  {
    type: 'load',
    options: { ...reactorOptions, app: { kind: 'c', path: '/srv/app.so', symbol: 'answer' } },
  },
  { type: 'load', options: reactorOptions },
  { type: 'serve' },
  { type: 'drain', timeoutMs: 0 },
  { type: 'prepare', generation: 2 },
  { type: 'switch', generation: 2 },
  { type: 'discard' },
  { type: 'stop' },
];

const TO_MASTER: readonly ToMaster[] = [
  { type: 'hello', protocol: 1, pid: 42 },
  { type: 'loaded' },
  { type: 'ready', allocator: 'system' },
  { type: 'cut' },
  { type: 'drained' },
  { type: 'prepared', generation: 2, problem: null },
  { type: 'unprepared', generation: 2, reason: 'an earlier load has not finished yet' },
  { type: 'switched', generation: 2 },
  { type: 'failed', code: 'HANDLER', message: 'app.lua:3: unexpected symbol' },
  { type: 'orphaned' },
  { type: 'memory', mark: 'near', residentBytes: 123_456_789 },
];

t.test('every message is decoded to itself, without unknown fields', async (t) => {
  for (const message of TO_REACTOR) {
    t.strictSame(decodeToReactor(structuredClone({ ...message, extra: 1 })), message);
  }
  for (const message of TO_MASTER) {
    t.strictSame(decodeToMaster(structuredClone({ ...message, extra: 1 })), message);
  }
});

t.test('the API that a Lua app uses exists', async (t) => {
  const load = (compat: string) => ({
    type: 'load',
    options: { ...reactorOptions, app: { kind: 'lua', path: '/srv/app.lua', compat } },
  });
  t.strictSame(decodeToReactor(load('ngx')), load('ngx'));
  t.throws(() => decodeToReactor(load('njs')), MoonringError);
});

t.test('messages of the other direction are rejected', async (t) => {
  for (const message of TO_REACTOR) t.throws(() => decodeToMaster(message), MoonringError);
  for (const message of TO_MASTER) t.throws(() => decodeToReactor(message), MoonringError);
});

/** All values that differ from `value` in one place: left out, or replaced by `replacement`. */
function* mutations(value: unknown, replacement: unknown): Generator<unknown> {
  yield replacement;
  if (Array.isArray(value)) {
    for (const [i, item] of value.entries()) {
      for (const changed of mutations(item, replacement)) yield value.with(i, changed);
    }
  } else if (typeof value === 'object' && value !== null) {
    for (const [key, member] of Object.entries(value)) {
      const { [key]: _, ...rest } = value as Record<string, unknown>;
      yield rest;
      for (const changed of mutations(member, replacement)) yield { ...value, [key]: changed };
    }
  }
}

const WRONG: readonly unknown[] = [
  undefined,
  null,
  true,
  -1,
  1.5,
  Number.NaN,
  Number.POSITIVE_INFINITY,
  2 ** 53,
  1n,
  [],
  {},
  new Date(0),
  new Map([['type', 'stop']]),
  () => 'stop',
  Symbol('stop'),
];

t.test('one wrong field in a message is found', async (t) => {
  for (const wrong of WRONG) {
    for (const message of TO_REACTOR) {
      for (const changed of mutations(message, wrong)) {
        // An empty list of listeners, proxies or shared memory is a list; no core and no file have
        // values of their own.
        const text = typeof wrong === 'bigint' ? '' : (JSON.stringify(changed) ?? '');
        if (isDeepStrictEqual(changed, message)) continue;
        const isRight =
          /"(listenFds|trustedProxy|compress|compressTypes|sharedRegions|topicsFds)":\[\]|"pinCpu":-1|"accessLogFile":(null|"[^"]*")/.test(
            text.replace('"accessLogFile":"/var/log/access.log"', ''),
          );
        if (!isRight) t.throws(() => decodeToReactor(changed), MoonringError);
      }
    }
    for (const message of TO_MASTER) {
      for (const changed of mutations(message, wrong)) {
        if (isDeepStrictEqual(changed, message)) continue;
        t.throws(() => decodeToMaster(changed), MoonringError);
      }
    }
  }
});

function randomValue(depth: number): unknown {
  const known = [
    'type',
    'load',
    'serve',
    'drain',
    'stop',
    'hello',
    'ready',
    'failed',
    'options',
    'app',
  ];
  const leaves = [...WRONG, ...known, randomInt(1000), 'code', 'HANDLER', 'timeoutMs', 'lua'];
  if (depth === 0 || randomInt(3) === 0) return leaves[randomInt(leaves.length)];
  if (randomInt(3) === 0) return Array.from({ length: randomInt(4) }, () => randomValue(depth - 1));
  const names = [...Object.keys(reactorOptions), ...known, '__proto__', 'constructor', 'pid'];
  const entries = Array.from({ length: randomInt(6) }, (): [string, unknown] => {
    return [names[randomInt(names.length)] ?? 'type', randomValue(depth - 1)];
  });
  return Object.fromEntries(entries);
}

t.test('a decoder throws only MoonringError, whatever it gets', async (t) => {
  for (let round = 0; round < 20_000; round++) {
    const value = randomValue(4);
    for (const decode of [decodeToMaster, decodeToReactor]) {
      try {
        decode(value);
      } catch (error) {
        if (error instanceof MoonringError) continue;
        t.fail(`${String(error)} for ${JSON.stringify(value)}`);
      }
    }
  }
});
