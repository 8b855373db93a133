import { MoonringError } from '../shared/errors.js';
import type {
  DictionaryProblem,
  DictionaryStats,
  NativeDictionary,
  SharedInput,
  SharedValue,
  StaleValue,
} from '../shared/native-shared.js';

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
  BAD_KEY: 'a key has from 1 to 65535 bytes',
  BAD_VALUE:
    'a value is a string, a number, a boolean or a Buffer; an element of a list no boolean',
};

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

  function ttlOf(call: string, ttlMs: number | undefined, otherwise: number): number {
    if (ttlMs === undefined) return otherwise;
    if (ttlMs >= 0 && ttlMs <= Number.MAX_SAFE_INTEGER) return Math.ceil(ttlMs);
    const text = `shared('${name}').${call}: ttlMs is a number from 0 on, not ${ttlMs}`;
    throw new MoonringError('ERR_MOONRING_SHARED', text);
  }

  function store(call: 'set' | 'add' | 'replace', mode: 0 | 1 | 2) {
    return (key: string, value: SharedInput, { ttlMs, flags = 0 }: SetOptions = {}) =>
      run(call, () => native.store(mode, key, value, ttlOf(call, ttlMs, 0), flags));
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
    incr: (key, amount = 1, { initial, ttlMs } = {}) =>
      run('incr', () => native.incr(key, amount, initial, ttlOf('incr', ttlMs, 0))),
    cas: (key, expected, value, { ttlMs } = {}) =>
      run('cas', () => native.cas(key, expected, value, ttlOf('cas', ttlMs, KEEP_TTL))),
    update: (key, fn, options) => {
      for (;;) {
        const old = dictionary.get(key);
        const value = fn(old);
        if (dictionary.cas(key, old, value, options)) return value;
      }
    },
    delete: (key) => run('delete', () => native.delete(key)),
    expire: (key, ttlMs) => run('expire', () => native.expire(key, ttlOf('expire', ttlMs, 0))),
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
