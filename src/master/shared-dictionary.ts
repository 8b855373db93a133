import { MoonringError } from '../shared/errors.js';
import type {
  DictionaryProblem,
  DictionaryStats,
  NativeDictionary,
  SharedInput,
  SharedValue,
  StaleValue,
} from '../shared/native-shared.js';
import { didYouMean } from '../shared/suggest.js';

export interface SetOptions {
  /** Milliseconds to live. Default: no expiry. */
  readonly ttlMs?: number;
  /** A number below 2^32 stored with the value, which Lua's `get` also returns. */
  readonly flags?: number;
}

/**
 * A dictionary in memory shared by all reactors: moonring.shared(name) in Lua. Strings are UTF-8; a
 * Buffer is stored as a string of these bytes. Methods are synchronous and take microseconds. They
 * throw a MoonringError with ERR_MOONRING_SHARED for a key that is empty or longer than 65535
 * bytes, for a value larger than `maxValueBytes`, for a list where a value is expected or vice
 * versa, and after the server has ended.
 */
export interface SharedDictionary {
  get(key: string): SharedValue | undefined;
  /** The bytes of a string; `undefined` if there is none. */
  getBuffer(key: string): Buffer | undefined;
  /** Also finds expired values until their memory is reused. */
  getStale(key: string): StaleValue | undefined;
  set(key: string, value: SharedInput, options?: SetOptions): void;
  /** False if the key exists. */
  add(key: string, value: SharedInput, options?: SetOptions): boolean;
  /** False if the key is not there. */
  replace(key: string, value: SharedInput, options?: SetOptions): boolean;
  /**
   * Adds to a number and returns the sum. A missing key starts at `initial`, and lives for `ttlMs`;
   * without `initial` the result is `undefined`.
   */
  incr(
    key: string,
    amount?: number,
    options?: { readonly initial?: number; readonly ttlMs?: number },
  ): number | undefined;
  /**
   * Stores `value` if the key's value is `expected`; `undefined`: if the key does not exist.
   * `value` undefined removes it. Without `ttlMs` the time to live is unchanged.
   */
  cas(
    key: string,
    expected: SharedInput | undefined,
    value: SharedInput | undefined,
    options?: Pick<SetOptions, 'ttlMs'>,
  ): boolean;
  /** Replaces a value with `fn(value)`, again if it was changed meanwhile; returns the new one. */
  update(
    key: string,
    fn: (value: SharedValue | undefined) => SharedValue | undefined,
    options?: Pick<SetOptions, 'ttlMs'>,
  ): SharedValue | undefined;
  /** Whether it was there. */
  delete(key: string): boolean;
  /** Sets the milliseconds to live from now on; 0: no expiry. False if the key does not exist. */
  expire(key: string, ttlMs: number): boolean;
  /** Remaining milliseconds, Infinity: no expiry; `undefined` if the key does not exist. */
  ttl(key: string): number | undefined;
  /** Adds at the left end of a list; returns its length. */
  lpush(key: string, value: string | number | Buffer): number;
  rpush(key: string, value: string | number | Buffer): number;
  lpop(key: string): string | number | undefined;
  rpop(key: string): string | number | undefined;
  llen(key: string): number;
  /** Everything has expired. */
  flushAll(): void;
  /** Frees expired entries; returns their number. */
  flushExpired(most?: number): number;
  /** Iterates over all keys; blocks no other user of the dictionary. */
  keys(): IterableIterator<string>;
  stats(): DictionaryStats;
}

const [SET, ADD, REPLACE] = [0, 1, 2] as const;
const KEEP_TTL = -1;
/** Keys that are read at a time. */
const SCANNED = 256;

const PROBLEMS: Readonly<Record<DictionaryProblem, string>> = {
  NO_MEMORY: 'no memory: the value is larger than maxValueBytes, see stats()',
  NOT_A_NUMBER: 'the value is not a number',
  IS_LIST: 'the value is a list',
  NOT_A_LIST: 'the value is not a list',
  BAD_KEY: 'a key is a string of 1 to 65535 bytes',
  BAD_VALUE:
    'a value is a string, a number, a boolean or a Buffer; an element of a list no boolean',
};

/** Options without others than these. */
function checked<T extends object>(
  options: T | undefined,
  names: readonly (keyof T & string)[],
): Partial<T> {
  for (const key of Object.keys(options ?? {})) {
    if ((names as readonly string[]).includes(key)) continue;
    throw new TypeError(`there is no option ${key}${didYouMean(key, names)}`);
  }
  return options ?? {};
}

function ttlOf(ttlMs: number | undefined, otherwise: number): number {
  if (ttlMs === undefined) return otherwise;
  if (typeof ttlMs === 'number' && ttlMs >= 0 && ttlMs <= Number.MAX_SAFE_INTEGER) {
    return Math.ceil(ttlMs);
  }
  throw new RangeError(`ttlMs is a number from 0 on, not ${ttlMs}`);
}

export function sharedDictionary(name: string, native: NativeDictionary): SharedDictionary {
  function run<T>(call: string, work: () => T): T {
    try {
      return work();
    } catch (cause) {
      const { code, message } = cause as { code?: string; message?: string };
      const problem = PROBLEMS[code as DictionaryProblem] ?? message;
      const text = `shared('${name}').${call}: ${problem}`;
      throw new MoonringError('ERR_MOONRING_SHARED', text, { cause });
    }
  }

  function store(call: 'set' | 'add' | 'replace', mode: 0 | 1 | 2) {
    return (key: string, value: SharedInput, options?: SetOptions) =>
      run(call, () => {
        const { ttlMs, flags = 0 } = checked(options, ['ttlMs', 'flags']);
        if (!Number.isInteger(flags) || flags < 0 || flags >= 2 ** 32) {
          throw new RangeError(`flags is a whole number below 2^32, not ${flags}`);
        }
        return native.store(mode, key, value, ttlOf(ttlMs, 0), flags);
      });
  }

  const set = store('set', SET);
  const dictionary: SharedDictionary = {
    get: (key) => run('get', () => native.get(key, false) as SharedValue | undefined),
    getBuffer: (key) =>
      run('getBuffer', () => {
        const value = native.get(key, true);
        return Buffer.isBuffer(value) ? value : undefined;
      }),
    getStale: (key) => run('getStale', () => native.getStale(key)),
    set: (key, value, options) => {
      set(key, value, options);
    },
    add: store('add', ADD),
    replace: store('replace', REPLACE),
    incr: (key, amount = 1, options = undefined) =>
      run('incr', () => {
        const { initial, ttlMs } = checked(options, ['initial', 'ttlMs']);
        if (initial !== undefined && typeof initial !== 'number') {
          throw new TypeError(`initial is a number, not ${initial}`);
        }
        return native.incr(key, amount, initial, ttlOf(ttlMs, 0));
      }),
    cas: (key, expected, value, options) =>
      run('cas', () => {
        const { ttlMs } = checked(options, ['ttlMs']);
        return native.cas(key, expected, value, ttlOf(ttlMs, KEEP_TTL));
      }),
    update: (key, fn, options) => {
      for (;;) {
        // The bytes: as text they need not be the same, and the exchange would never succeed.
        const old = run('update', () => native.get(key, true));
        const value = fn(Buffer.isBuffer(old) ? old.toString() : old);
        if (dictionary.cas(key, old, value, options)) return value;
      }
    },
    delete: (key) => run('delete', () => native.delete(key)),
    expire: (key, ttlMs) => run('expire', () => native.expire(key, ttlOf(ttlMs, 0))),
    ttl: (key) =>
      run('ttl', () => {
        const ttlMs = native.ttl(key);
        return ttlMs === 0 ? Number.POSITIVE_INFINITY : ttlMs;
      }),
    lpush: (key, value) => run('lpush', () => native.push(key, value, true)),
    rpush: (key, value) => run('rpush', () => native.push(key, value, false)),
    lpop: (key) => run('lpop', () => native.pop(key, true)),
    rpop: (key) => run('rpop', () => native.pop(key, false)),
    llen: (key) => run('llen', () => native.length(key)),
    flushAll: () => run('flushAll', () => native.flushAll()),
    flushExpired: (most = 0) => run('flushExpired', () => native.flushExpired(most)),
    keys: function* () {
      let cursor = 0;
      do {
        const at = cursor;
        const scanned = run('keys', () => native.scan(at, SCANNED));
        yield* scanned.keys;
        cursor = scanned.cursor;
      } while (cursor !== 0);
    },
    stats: () => run('stats', () => native.stats()),
  };
  return dictionary;
}
