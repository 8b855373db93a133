/**
 * The addon's shared dictionary: the same memory that reactors map. Times are in milliseconds,
 * sizes in bytes; 0 ms to live means no expiry. A method that fails throws an Error whose `code` is
 * a DictionaryProblem.
 */
export interface NativeDictionary {
  /** Inherited by reactors; owned by the dictionary. */
  readonly fd: number;
  /** Strings as text, or with `asBuffer` as bytes. */
  get(key: string, asBuffer: boolean): SharedValue | Buffer | undefined;
  getStale(key: string): StaleValue | undefined;
  /** False: it exists (add), or does not (replace). */
  store(mode: StoreMode, key: string, value: SharedInput, ttlMs: number, flags: number): boolean;
  /** `undefined`: it does not exist, and no initial number was given. */
  incr(key: string, amount: number, initial: number | undefined, ttlMs: number): number | undefined;
  /** `ttlMs` -1: what it had. */
  cas(
    key: string,
    expected: SharedInput | undefined,
    value: SharedInput | undefined,
    ttlMs: number,
  ): boolean;
  delete(key: string): boolean;
  expire(key: string, ttlMs: number): boolean;
  ttl(key: string): number | undefined;
  push(key: string, value: string | number | Buffer, atHead: boolean): number;
  pop(key: string, atHead: boolean): string | number | undefined;
  length(key: string): number;
  flushAll(): void;
  flushExpired(most: number): number;
  /** Cursor 0 starts the scan, and marks its end. */
  scan(cursor: number, most: number): { readonly keys: readonly string[]; readonly cursor: number };
  stats(): DictionaryStats;
  /** The memory is unmapped; methods throw. */
  close(): void;
}

export type SharedValue = string | number | boolean;
export type SharedInput = SharedValue | Buffer;

export interface StaleValue {
  readonly value: SharedValue;
  /** Its time to live is over. */
  readonly isStale: boolean;
}

/** hs_shared_mode_t. */
export type StoreMode = 0 | 1 | 2;

/** hs_shared_result_t, those that are no result of the method. */
export type DictionaryProblem =
  | 'NO_MEMORY'
  | 'NOT_A_NUMBER'
  | 'IS_LIST'
  | 'NOT_A_LIST'
  | 'BAD_KEY'
  | 'BAD_VALUE';

export interface DictionaryStats {
  /** Bytes of the memory. */
  readonly sizeBytes: number;
  /** Taken by entries, including expired ones. */
  readonly usedBytes: number;
  readonly freeBytes: number;
  readonly entries: number;
  /** Unexpired entries removed to make room. */
  readonly evictions: number;
  /** Expired entries whose memory was reused. */
  readonly expirations: number;
  /** Calls that found no memory. */
  readonly refusals: number;
  /** A process was killed in the middle of a call. */
  readonly repairs: number;
  /** Of the largest key and value together. */
  readonly maxValueBytes: number;
}
