import { LOG_LEVELS } from './logger.js';
import { LISTENING_OPTIONS, LOG_OPTIONS, OPERATION_OPTIONS } from './operation-options.js';
import type { OptionSpec } from './option-spec.js';
import { TIMEOUT_OPTIONS } from './timeout-options.js';

/**
 * The one table of options. Flags, `--help`, environment names, keys of the config file,
 * validation, the types and docs/configuration.md all come from it.
 */
export const OPTIONS = [
  {
    name: 'app',
    role: 'argument',
    type: 'path',
    section: 'Application',
    absent: 'the bundled demo',
    description:
      'What to serve: a .lua file, a directory with handler.lua, or a C handler: a .so or .dylib, :symbol',
  },
  {
    name: 'port',
    short: 'p',
    type: 'port',
    section: 'Listening',
    alsoEnv: 'PORT',
    word: 'off',
    default: '8080',
    description:
      'TCP port; 0 lets the system choose one, the ready line says which; off: no TCP, see --uds',
  },
  {
    name: 'host',
    type: 'host',
    section: 'Listening',
    alsoEnv: 'HOST',
    default: '127.0.0.1',
    description: 'Address or host name to listen on',
  },
  {
    name: 'backlog',
    type: 'count',
    section: 'Listening',
    min: 1,
    max: 65_535,
    default: '1024',
    description: 'Connections that may wait to be accepted, a reactor',
  },
  ...LISTENING_OPTIONS,
  {
    name: 'processes',
    short: 'n',
    type: 'count',
    section: 'Processes',
    alsoEnv: 'WEB_CONCURRENCY',
    min: 1,
    max: 1024,
    word: 'auto',
    default: 'auto',
    description: 'Reactors; auto: the cores that affinity and the cgroup quota really give',
  },
  {
    name: 'workers',
    short: 'w',
    type: 'count',
    section: 'Processes',
    min: 0,
    max: 256,
    default: '4',
    description: 'Worker threads for slow handlers, a reactor, started when needed; 0: none',
  },
  {
    name: 'dispatch',
    type: 'choice',
    section: 'Processes',
    placeholder: 'mode',
    choices: ['auto', 'inline', 'worker'],
    default: 'auto',
    description:
      'Where handlers run: on the reactor, on workers, or auto: slow routes go to the workers',
  },
  {
    name: 'max-connections',
    type: 'count',
    section: 'Limits',
    min: 1,
    max: 1_048_576,
    default: '65536',
    description: 'Open connections, a reactor; more are answered 503',
  },
  {
    name: 'ring-size',
    type: 'size',
    section: 'Limits',
    min: '256',
    max: '1m',
    powerOfTwo: true,
    default: '8k',
    description: 'Receive ring, a power of two; a request head that does not fit is answered 431',
  },
  {
    name: 'max-body',
    type: 'size',
    section: 'Limits',
    min: '0',
    max: '1g',
    default: '4m',
    description: 'Request body; a longer one is answered 413',
  },
  {
    name: 'max-url',
    type: 'size',
    section: 'Limits',
    min: '1',
    max: '1m',
    default: '8k',
    description:
      'Request target; a longer one is answered 414. At most ring-size, which also lowers the default',
  },
  {
    name: 'max-headers',
    type: 'count',
    section: 'Limits',
    min: 1,
    max: 1024,
    default: '64',
    description: 'Header fields in a request; more are answered 431',
  },
  {
    name: 'lua-memory',
    type: 'size',
    section: 'Limits',
    min: '0',
    max: '4095m',
    default: '256m',
    description: 'Memory of a Lua state; a handler that needs more is answered 500. 0: no limit',
  },
  ...TIMEOUT_OPTIONS,
  ...OPERATION_OPTIONS,
  {
    name: 'log-level',
    type: 'choice',
    section: 'Logs and memory',
    placeholder: 'level',
    choices: LOG_LEVELS,
    default: 'info',
    description: 'Least important log lines to write; the ready line always is written',
  },
  ...LOG_OPTIONS,
  {
    name: 'allocator',
    type: 'choice',
    section: 'Logs and memory',
    placeholder: 'name',
    choices: ['jemalloc', 'system'],
    default: 'jemalloc',
    description:
      'malloc of the reactors; without an installed jemalloc, and under a sanitizer, system',
  },
  {
    name: 'config',
    role: 'locator',
    type: 'path',
    section: 'Configuration',
    absent: 'none',
    description: 'JSON file with options',
  },
  {
    name: 'check',
    role: 'command',
    type: 'bool',
    section: 'Configuration',
    description: 'Check configuration and app, then exit',
  },
  {
    name: 'help',
    short: 'h',
    role: 'command',
    type: 'bool',
    section: 'Configuration',
    description: 'Print this text',
  },
  {
    name: 'version',
    short: 'v',
    role: 'command',
    type: 'bool',
    section: 'Configuration',
    description: 'Print the versions of moonring, llhttp, LuaJIT and node',
  },
] as const satisfies readonly OptionSpec[];

type Spec = (typeof OPTIONS)[number];
/** An option that has a value in the configuration; `role` is what sets the others apart. */
type SettingSpec = Exclude<Spec, { role: 'command' | 'locator' }>;

type CamelCase<S extends string> = S extends `${infer Head}-${infer Tail}`
  ? `${Head}${Capitalize<CamelCase<Tail>>}`
  : S;

type ValueOf<S> = S extends { type: 'count' | 'port'; word: infer Word extends string }
  ? number | Word
  : S extends { type: 'count' | 'size' | 'duration' | 'port' | 'mode' }
    ? number
    : S extends { type: 'choice'; choices: readonly (infer Choice)[] }
      ? Choice
      : S extends { type: 'path' }
        ? string | null
        : S extends { type: 'switch' }
          ? boolean
          : string;

/**
 * The resolved configuration: bytes, milliseconds, absolute paths; `null` for a path that is not
 * given.
 */
export type Config = { readonly [S in SettingSpec as CamelCase<S['name']>]: ValueOf<S> };
export type ConfigKey = keyof Config;

/** What is written for an option: sizes and durations are text, like "4m" and "30s". */
type WrittenOf<S> = S extends { type: 'size' }
  ? number | string
  : S extends { type: 'duration' | 'mode' }
    ? string
    : NonNullable<ValueOf<S>>;

/** The options of a server as a program or the config file writes them; all have defaults. */
export type ServerOptions = {
  readonly [S in SettingSpec as CamelCase<S['name']>]?: WrittenOf<S>;
};

export const ENV_PREFIX = 'MOONRING_';

export function flagOf(spec: OptionSpec): string {
  return `--${spec.name}`;
}

export function keyOf(spec: OptionSpec): string {
  return spec.name.replace(/-(.)/g, (_, letter: string) => letter.toUpperCase());
}

/** The variables that set an option, the stronger first. */
export function envNamesOf(spec: OptionSpec): string[] {
  if (spec.role === 'command') return [];
  const own = `${ENV_PREFIX}${spec.name.toUpperCase().replaceAll('-', '_')}`;
  return spec.alsoEnv === undefined ? [own] : [own, spec.alsoEnv];
}

/** The options that have a value in the configuration. */
export function settings(): OptionSpec[] {
  return OPTIONS.filter((spec: OptionSpec) => isSetting(spec));
}

function isSetting(spec: OptionSpec): boolean {
  return spec.role === undefined || spec.role === 'argument';
}
