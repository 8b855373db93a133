import { MoonringError } from './errors.js';
import type {
  AppSource,
  MemoryMark,
  ReactorFailure,
  ReactorOptions,
  SharedMemory,
  SharedMemoryKind,
  SharedRegion,
  SharedSize,
} from './native.js';
import type { OptionSpec } from './option-spec.js';
import { keyOf, type NativeConfig, nativeSettings } from './options.js';

/**
 * The messages between master and reactor. A reactor sends hello first; the master lets it load if
 * both speak the same version, and later tells it to serve. Change the version with any change of a
 * message.
 */
export const PROTOCOL_VERSION = 17;

export type ToReactor =
  /** Load the handler and wait. */
  | { readonly type: 'load'; readonly options: ReactorOptions }
  /** Accept connections. */
  | { readonly type: 'serve' }
  | { readonly type: 'drain'; readonly timeoutMs: number }
  | { readonly type: 'hand-over'; readonly timeoutMs: number }
  | { readonly type: 'reopen-logs' }
  /** Load the next generation beside the current one; its files arrive through `appsFd`. */
  | { readonly type: 'prepare'; readonly generation: number }
  /** The prepared generation handles all requests from now on. */
  | { readonly type: 'switch'; readonly generation: number }
  /** Forget what was prepared. */
  | { readonly type: 'discard' }
  /** New connections use new certificates, which arrive through `appsFd`. */
  | { readonly type: 'certificates' }
  | { readonly type: 'stop' };

export type ToMaster =
  | { readonly type: 'hello'; readonly protocol: number; readonly pid: number }
  /** The handler is loaded; nothing is accepted before the order to serve. */
  | { readonly type: 'loaded' }
  | { readonly type: 'ready'; readonly allocator: string }
  /** The drain timed out, and something was cut. `drained` follows. */
  | { readonly type: 'cut' }
  | { readonly type: 'drained' }
  /** `problem` is `null` if the generation waits for the order to switch. */
  | { readonly type: 'prepared'; readonly generation: number; readonly problem: string | null }
  /** It could not start loading the generation: only another process can. */
  | { readonly type: 'unprepared'; readonly generation: number; readonly reason: string }
  | { readonly type: 'switched'; readonly generation: number }
  | { readonly type: 'failed'; readonly code: ReactorFailure; readonly message: string }
  | { readonly type: 'orphaned' }
  /** It is near its memory limit, and should be replaced; or has reached it, and ends now. */
  | { readonly type: 'memory'; readonly mark: MemoryMark; readonly residentBytes: number };

const FAILURES = ['HANDLER', 'SYSTEM', 'INVALID', 'NOMEM'] as const satisfies ReactorFailure[];

type Fields = Readonly<Record<string, unknown>>;

/** Throws ERR_MOONRING_PROTOCOL for anything that is not a message to a reactor. */
export function decodeToReactor(value: unknown): ToReactor {
  const fields = fieldsOf(value);
  switch (fields['type']) {
    case 'load':
      return { type: 'load', options: decodeOptions(fieldsOf(fields['options'])) };
    case 'serve':
      return { type: 'serve' };
    case 'drain':
      return { type: 'drain', timeoutMs: naturalIn(fields, 'timeoutMs') };
    case 'hand-over':
      return { type: 'hand-over', timeoutMs: naturalIn(fields, 'timeoutMs') };
    case 'reopen-logs':
      return { type: 'reopen-logs' };
    case 'prepare':
      return { type: 'prepare', generation: naturalIn(fields, 'generation') };
    case 'switch':
      return { type: 'switch', generation: naturalIn(fields, 'generation') };
    case 'discard':
      return { type: 'discard' };
    case 'certificates':
      return { type: 'certificates' };
    case 'stop':
      return { type: 'stop' };
    default:
      throw unreadable('type', fields['type']);
  }
}

/** Throws ERR_MOONRING_PROTOCOL for anything that is not a message to the master. */
export function decodeToMaster(value: unknown): ToMaster {
  const fields = fieldsOf(value);
  switch (fields['type']) {
    case 'hello':
      return {
        type: 'hello',
        protocol: naturalIn(fields, 'protocol'),
        pid: naturalIn(fields, 'pid'),
      };
    case 'loaded':
      return { type: 'loaded' };
    case 'ready':
      return { type: 'ready', allocator: textIn(fields, 'allocator') };
    case 'cut':
      return { type: 'cut' };
    case 'drained':
      return { type: 'drained' };
    case 'prepared':
      return {
        type: 'prepared',
        generation: naturalIn(fields, 'generation'),
        problem: problemIn(fields),
      };
    case 'unprepared':
      return {
        type: 'unprepared',
        generation: naturalIn(fields, 'generation'),
        reason: textIn(fields, 'reason'),
      };
    case 'switched':
      return { type: 'switched', generation: naturalIn(fields, 'generation') };
    case 'failed':
      return {
        type: 'failed',
        code: choiceIn(fields, 'code', FAILURES),
        message: textIn(fields, 'message'),
      };
    case 'orphaned':
      return { type: 'orphaned' };
    case 'memory':
      return {
        type: 'memory',
        mark: choiceIn(fields, 'mark', ['near', 'limit']),
        residentBytes: naturalIn(fields, 'residentBytes'),
      };
    default:
      throw unreadable('type', fields['type']);
  }
}

/** The input of the process that checks a handler, and its result. */
export interface CheckOrder {
  readonly app: AppSource;
  readonly luaRoot: string;
  /** The shared memory that the handler will find in a reactor, here private to the process. */
  readonly shared: readonly SharedSize[];
}

/** The checker sends the accepted files through it. */
export const CHECKER_APPS_FD = 4;

export interface CheckVerdict {
  /** `null`: the handler is fine. */
  readonly problem: string | null;
  /** Whether a descriptor of its files was sent along. */
  readonly isKept: boolean;
  /** False: only the files that were loaded are kept. */
  readonly isWhole: boolean;
}

export function decodeCheckOrder(value: unknown): CheckOrder {
  const fields = fieldsOf(value);
  return {
    app: decodeApp(fieldsOf(fields['app'])),
    luaRoot: textIn(fields, 'luaRoot'),
    shared: listIn(fields, 'shared').map((each): SharedSize => {
      return { ...decodeShared(each), size: naturalIn(each, 'size') };
    }),
  };
}

export function decodeCheckVerdict(value: unknown): CheckVerdict {
  const fields = fieldsOf(value);
  return {
    problem: problemIn(fields),
    isKept: flagIn(fields, 'isKept'),
    isWhole: flagIn(fields, 'isWhole'),
  };
}

function decodeOptions(fields: Fields): ReactorOptions {
  return {
    ...decodeSettings(fields),
    index: naturalIn(fields, 'index'),
    listenFds: naturalsIn(fields, 'listenFds'),
    controlFd: naturalIn(fields, 'controlFd'),
    app: decodeApp(fieldsOf(fields['app'])),
    luaRoot: textIn(fields, 'luaRoot'),
    inboxFd: naturalIn(fields, 'inboxFd'),
    appsFd: naturalIn(fields, 'appsFd'),
    isKept: flagIn(fields, 'isKept'),
    tlsPort: naturalIn(fields, 'tlsPort'),
    accessLogFd: naturalIn(fields, 'accessLogFd'),
    traceSample: naturalIn(fields, 'traceSample'),
    sharedRegions: listIn(fields, 'sharedRegions').map((each): SharedRegion => {
      return { ...decodeShared(each), fd: naturalIn(each, 'fd') };
    }),
    topicsFds: naturalsIn(fields, 'topicsFds'),
    statsFd: naturalIn(fields, 'statsFd'),
    statsSlot: naturalIn(fields, 'statsSlot'),
    statsSide: naturalIn(fields, 'statsSide'),
    generation: naturalIn(fields, 'generation'),
    pinCpu: fields['pinCpu'] === -1 ? -1 : naturalIn(fields, 'pinCpu'),
  };
}

/** The table is the type, as in `resolveConfig`. */
function decodeSettings(fields: Fields): NativeConfig {
  const entries = nativeSettings().map((spec) => [keyOf(spec), decodeSetting(spec, fields)]);
  return Object.fromEntries(entries) as NativeConfig;
}

function decodeSetting(spec: OptionSpec, fields: Fields): unknown {
  const key = keyOf(spec);
  switch (spec.type) {
    case 'choice':
      return choiceIn(fields, key, spec.choices);
    case 'switch':
      return flagIn(fields, key);
    case 'networks':
    case 'words':
      return textsIn(fields, key);
    case 'path':
      return fields[key] === null ? null : textIn(fields, key);
    case 'count':
    case 'size':
    case 'duration':
      return naturalIn(fields, key);
    default:
      throw new TypeError(`a reactor has no use for an option of the type ${spec.type}`);
  }
}

const SHARED_KINDS = ['dictionary', 'topics'] as const satisfies SharedMemoryKind[];

function decodeShared(fields: Fields): SharedMemory {
  return { kind: choiceIn(fields, 'kind', SHARED_KINDS), name: textIn(fields, 'name') };
}

function decodeApp(fields: Fields): AppSource {
  const path = textIn(fields, 'path');
  if (choiceIn(fields, 'kind', ['lua', 'c']) === 'c')
    return { kind: 'c', path, symbol: textIn(fields, 'symbol') };
  if (fields['compat'] === undefined) return { kind: 'lua', path };
  return { kind: 'lua', path, compat: choiceIn(fields, 'compat', ['ngx']) };
}

/** The value's own properties; what it inherits does not count. */
function fieldsOf(value: unknown): Fields {
  if (typeof value !== 'object' || value === null) throw unreadable('message', value);
  return { ...value };
}

function textIn(fields: Fields, name: string): string {
  const value = fields[name];
  if (typeof value !== 'string') throw unreadable(name, value);
  return value;
}

function textsIn(fields: Fields, name: string): string[] {
  const value = fields[name];
  if (!Array.isArray(value) || !value.every((item) => typeof item === 'string')) {
    throw unreadable(name, value);
  }
  return value;
}

function problemIn(fields: Fields): string | null {
  return fields['problem'] === null ? null : textIn(fields, 'problem');
}

function flagIn(fields: Fields, name: string): boolean {
  const value = fields[name];
  if (typeof value !== 'boolean') throw unreadable(name, value);
  return value;
}

function naturalIn(fields: Fields, name: string): number {
  return natural(name, fields[name]);
}

function naturalsIn(fields: Fields, name: string): number[] {
  const value = fields[name];
  if (!Array.isArray(value)) throw unreadable(name, value);
  return Array.from(value, (item: unknown) => natural(name, item));
}

/** An array of objects. */
function listIn(fields: Fields, name: string): Fields[] {
  const value = fields[name];
  if (!Array.isArray(value)) throw unreadable(name, value);
  return Array.from(value, fieldsOf);
}

function natural(name: string, value: unknown): number {
  if (typeof value !== 'number' || !Number.isSafeInteger(value) || value < 0) {
    throw unreadable(name, value);
  }
  return value;
}

function choiceIn<T extends string>(fields: Fields, name: string, choices: readonly T[]): T {
  const choice = choices.find((candidate) => candidate === fields[name]);
  if (choice === undefined) throw unreadable(name, fields[name]);
  return choice;
}

function unreadable(name: string, value: unknown): MoonringError {
  const seen = typeof value === 'string' ? JSON.stringify(value.slice(0, 64)) : typeof value;
  return new MoonringError('ERR_MOONRING_PROTOCOL', `unreadable ${name} in a message: ${seen}`);
}
