import type { Address } from './addresses.js';
import { LOG_LEVELS } from './logger.js';
import type { NamedSize, OptionSpec } from './option-spec.js';

const MAX_DURATION = '24h';

/**
 * The table of options. Flags, `--help`, environment variables, keys of the config file,
 * validation, types, what is sent to reactors, what a reload can change and
 * docs/configuration.md are all derived from it.
 */
export const OPTIONS = [
  {
    name: 'app',
    role: 'argument',
    type: 'path',
    section: 'Application',
    absent: 'the bundled demo',
    description:
      'The application: a .lua file, a directory with handler.lua, or a C handler (a .so or .dylib, optionally followed by :symbol)',
  },
  {
    name: 'compat',
    type: 'choice',
    section: 'Application',
    placeholder: 'api',
    choices: ['none', 'ngx'],
    default: 'none',
    description:
      'Compatibility API for Lua applications; ngx: provides OpenResty’s ngx, and runs a file without a handle function for each request',
  },
  {
    name: 'port',
    short: 'p',
    type: 'port',
    section: 'Listening',
    alsoEnv: 'PORT',
    word: 'off',
    default: '8080',
    restart: true,
    description:
      'TCP port; 0: chosen by the system and printed in the ready line; off: no TCP except --tls-port, see --uds',
  },
  {
    name: 'host',
    type: 'hosts',
    section: 'Listening',
    default: '127.0.0.1',
    restart: true,
    description:
      'Address or host name to listen on; repeat the option, or separate with commas, for several; *: all addresses, IPv4 and IPv6',
  },
  {
    name: 'backlog',
    type: 'count',
    section: 'Listening',
    min: 1,
    max: 65_535,
    default: '1024',
    restart: true,
    description: 'Length of the listen queue, per reactor',
  },
  {
    name: 'uds',
    type: 'path',
    socket: true,
    section: 'Listening',
    absent: 'none',
    restart: true,
    description: 'Unix socket to listen on, in addition to TCP; with --port off, instead of it',
  },
  {
    name: 'uds-mode',
    type: 'mode',
    section: 'Listening',
    default: '0660',
    restart: true,
    description: 'Permissions of the Unix socket',
  },
  {
    name: 'accept',
    type: 'choice',
    section: 'Listening',
    placeholder: 'strategy',
    choices: ['auto', 'reuseport', 'boss'],
    default: 'auto',
    restart: true,
    description:
      'What distributes connections: the kernel, with one socket per reactor (reuseport), or a thread of the master (boss); auto: reuseport on Linux, boss on macOS',
  },
  {
    name: 'boss-policy',
    type: 'choice',
    section: 'Listening',
    placeholder: 'policy',
    choices: ['round-robin', 'least'],
    default: 'round-robin',
    restart: true,
    description:
      'How --accept boss distributes connections: to each reactor in turn, or to the one with the fewest connections',
  },
  {
    name: 'trusted-proxy',
    type: 'networks',
    section: 'Listening',
    absent: 'none',
    native: true,
    description:
      'Proxies that are trusted to name the client: addresses, networks like 10.0.0.0/8, loopback, link-local, private, or unix (peers of the Unix socket); repeat the option, or separate with commas',
  },
  {
    name: 'forwarded-field',
    type: 'choice',
    section: 'Listening',
    placeholder: 'field',
    choices: ['x-forwarded-for', 'forwarded'],
    default: 'x-forwarded-for',
    native: true,
    description: 'The field in which trusted proxies name the client; the other field is ignored',
  },
  {
    name: 'proxy-protocol',
    type: 'switch',
    section: 'Listening',
    default: 'off',
    native: true,
    description:
      'Connections begin with a PROXY header, version 1 or 2, that names the peer; connections without one are closed and, if --trusted-proxy is set, also those from any other address',
  },
  {
    name: 'tls-cert',
    type: 'paths',
    section: 'TLS',
    absent: 'none',
    description:
      'Certificates in PEM, each with its chain; repeat the option, or separate with commas, for several. Selected by the name that the client sends (SNI); a reload reads the files again',
  },
  {
    name: 'tls-key',
    type: 'paths',
    section: 'TLS',
    absent: 'none',
    description: 'Private keys of the certificates in PEM, not encrypted, in the same order',
  },
  {
    name: 'tls-port',
    type: 'port',
    section: 'TLS',
    default: '8443',
    restart: true,
    description: 'TCP port for TLS, on every --host, if --tls-cert is set; 0: chosen by the system',
  },
  {
    name: 'tls-ocsp',
    type: 'paths',
    section: 'TLS',
    absent: 'none',
    description:
      'OCSP responses in DER to staple, each to the certificate it was issued for; a reload reads them again',
  },
  {
    name: 'tls-client-ca',
    type: 'path',
    section: 'TLS',
    absent: 'none',
    description:
      'Certificate authorities in PEM that client certificates are verified against; without it no client certificate is requested',
  },
  {
    name: 'tls-client-cert',
    type: 'choice',
    section: 'TLS',
    placeholder: 'how',
    choices: ['require', 'optional'],
    default: 'require',
    description: 'Whether clients without a certificate are rejected, with --tls-client-ca',
  },
  {
    name: 'tls-handshakes',
    type: 'count',
    section: 'TLS',
    min: 0,
    max: 1_000_000,
    default: '0',
    native: true,
    description:
      'Handshakes that an address (an IPv6 /64 network) may begin per second, also the size of a burst, per reactor; further connections are closed; 0: no limit',
  },
  {
    name: 'tls-redirect',
    type: 'switch',
    section: 'TLS',
    default: 'off',
    native: true,
    description:
      'Redirect requests on --port to the same target on --tls-port (308), except /.well-known/acme-challenge/',
  },
  {
    name: 'tls-hsts',
    type: 'duration',
    section: 'TLS',
    max: '17520h',
    default: '0',
    native: true,
    description:
      'Send Strict-Transport-Security with this max-age in responses over TLS, for example 4320h (180 days); 0: do not send it',
  },
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
    restart: true,
    description: 'Number of reactors; auto: as many as CPU affinity and the cgroup quota allow',
  },
  {
    name: 'min-reactors',
    type: 'count',
    section: 'Processes',
    min: 1,
    max: 1024,
    default: '1',
    description:
      'Reactors that must be ready for /readyz to return 200; the others may be in a crash loop',
  },
  {
    name: 'threads',
    short: 't',
    type: 'count',
    section: 'Processes',
    oldName: 'workers',
    oldShort: 'w',
    min: 0,
    max: 256,
    default: '4',
    native: true,
    description: 'Worker threads for slow handlers, per reactor, started on demand; 0: none',
  },
  {
    name: 'dispatch',
    type: 'choice',
    section: 'Processes',
    placeholder: 'mode',
    choices: ['auto', 'inline', 'worker'],
    default: 'auto',
    native: true,
    description:
      'Where handlers run: on the event loop, on worker threads, or auto: slow routes run on worker threads',
  },
  {
    name: 'shared',
    type: 'sizes',
    section: 'Processes',
    min: '256k',
    max: '64g',
    most: 64,
    absent: 'none',
    restart: true,
    description:
      'A dictionary in memory shared by all reactors, for moonring.shared: name=size, for example cache=16m; repeat the option, or separate with commas, for several',
  },
  {
    name: 'survive',
    type: 'choice',
    section: 'Processes',
    placeholder: 'what',
    choices: ['all', 'idle', 'off'],
    default: 'all',
    native: true,
    description:
      'Which connections survive when their reactor crashes or is killed (Linux): all that can continue, those without a request, or none',
  },
  {
    name: 'max-connections',
    type: 'count',
    section: 'Limits',
    min: 1,
    max: 1_048_576,
    default: '65536',
    native: true,
    description: 'Open connections per reactor; further connections get 503',
  },
  {
    name: 'ring-size',
    type: 'size',
    section: 'Limits',
    min: '256',
    max: '1m',
    powerOfTwo: true,
    default: '8k',
    native: true,
    description:
      'Size of the receive buffer, a power of two; a request head that does not fit gets 431',
  },
  {
    name: 'max-body',
    type: 'size',
    section: 'Limits',
    min: '0',
    max: '1g',
    default: '4m',
    native: true,
    description: 'Maximum length of a request body; a longer one gets 413',
  },
  {
    name: 'max-body-memory',
    type: 'size',
    section: 'Limits',
    min: '0',
    max: '4095m',
    default: '256m',
    native: true,
    description:
      'Memory for all buffered request bodies of a reactor; beyond it 503. At least max-body. 0: no limit',
  },
  {
    name: 'max-url',
    type: 'size',
    section: 'Limits',
    min: '1',
    max: '1m',
    default: '8k',
    native: true,
    description:
      'Maximum length of a request target; a longer one gets 414. At most ring-size; a smaller ring-size lowers the default',
  },
  {
    name: 'max-headers',
    type: 'count',
    section: 'Limits',
    min: 1,
    max: 1024,
    default: '64',
    native: true,
    description: 'Maximum number of header fields in a request; more get 431',
  },
  {
    name: 'lua-memory',
    type: 'size',
    section: 'Limits',
    min: '1m',
    max: '4095m',
    zero: true,
    default: '256m',
    native: true,
    description: 'Memory per Lua state; a request whose handler needs more gets 500. 0: no limit',
  },
  {
    name: 'memory-limit',
    type: 'size',
    section: 'Limits',
    min: '96m',
    max: '1024g',
    zero: true,
    default: '0',
    native: true,
    description:
      'Resident memory per reactor: at 80 % the process is replaced without losing a request, at 100 % it exits at once. 0: no limit',
  },
  {
    name: 'max-generations',
    type: 'count',
    section: 'Limits',
    min: 1,
    max: 100,
    default: '3',
    native: true,
    description:
      'Generations of Lua code whose responses may still be in progress; older ones are aborted',
  },
  {
    name: 'topics',
    type: 'size',
    section: 'Limits',
    min: '256k',
    max: '1g',
    powerOfTwo: true,
    default: '4m',
    restart: true,
    description:
      'Size of the ring of moonring.publish messages, a power of two: how far a slow subscriber can fall behind. Shared by all reactors',
  },
  {
    name: 'compress',
    type: 'words',
    section: 'Compression',
    placeholder: 'coding',
    pattern: 'gzip|br',
    form: 'gzip or br',
    default: 'off',
    native: true,
    description:
      'Compress responses of handlers: gzip, br, or both separated by a comma, the preferred one first; off: none',
  },
  {
    name: 'compress-types',
    type: 'words',
    section: 'Compression',
    placeholder: 'type',
    pattern: String.raw`\+[\w.+-]+|[\w.+-]+/(?:[\w.+-]+|\*)`,
    form: 'a media type, a type/* or a +suffix',
    default:
      'text/*, application/json, application/javascript, application/xml, application/wasm, image/svg+xml, +json, +xml',
    native: true,
    description: 'Media types to compress, separated by commas',
  },
  {
    name: 'compress-min-size',
    type: 'size',
    section: 'Compression',
    min: '0',
    max: '1g',
    default: '1k',
    native: true,
    description: 'Shorter content is not compressed',
  },
  {
    name: 'compress-gzip-level',
    type: 'count',
    section: 'Compression',
    min: 1,
    max: 9,
    default: '6',
    native: true,
    description: 'A higher level compresses better and takes more time',
  },
  {
    name: 'compress-br-level',
    type: 'count',
    section: 'Compression',
    min: 0,
    max: 11,
    default: '4',
    native: true,
    description: 'A higher level compresses better and takes more time, above 5 much more',
  },
  {
    name: 'ws-max-message',
    type: 'size',
    section: 'WebSocket',
    min: '1',
    max: '1g',
    default: '1m',
    native: true,
    description: 'Maximum length of a message; a longer one closes the socket with 1009',
  },
  {
    name: 'ws-max-unsent',
    type: 'size',
    section: 'WebSocket',
    min: '1k',
    max: '1g',
    default: '1m',
    native: true,
    description:
      'Unsent bytes that may be buffered for a slow client; sending beyond that closes the socket',
  },
  {
    name: 'ws-max-frames',
    type: 'count',
    section: 'WebSocket',
    min: 0,
    max: 1_000_000_000,
    default: '10000',
    native: true,
    description:
      'Frames per second that a client may send; more close the socket with 1008. 0: no limit',
  },
  {
    name: 'ws-ping-interval',
    type: 'duration',
    section: 'WebSocket',
    max: MAX_DURATION,
    default: '30s',
    native: true,
    description:
      'A client that has sent nothing for this long is pinged; if it stays silent as long again, the socket is closed. 0: off',
  },
  {
    name: 'ws-compress',
    type: 'choice',
    section: 'WebSocket',
    placeholder: 'mode',
    choices: ['off', 'on', 'takeover'],
    default: 'off',
    native: true,
    description:
      'Compress messages (permessage-deflate); on: each on its own; takeover: with context takeover, for up to 100 KiB per socket',
  },
  {
    name: 'header-timeout',
    type: 'duration',
    section: 'Timeouts',
    max: MAX_DURATION,
    default: '10s',
    native: true,
    description: 'Time from the first byte of a request to the end of its head; then 408. 0: off',
  },
  {
    name: 'body-timeout',
    type: 'duration',
    section: 'Timeouts',
    max: MAX_DURATION,
    default: '30s',
    native: true,
    description: 'Time from the end of the head to the end of the body; then 408. 0: off',
  },
  {
    name: 'body-min-rate',
    type: 'size',
    section: 'Timeouts',
    min: '0',
    max: '1g',
    default: '1k',
    native: true,
    description:
      'Minimum average rate of a request body in bytes per second, checked after 10 s; below it 408',
  },
  {
    name: 'keepalive-timeout',
    type: 'duration',
    section: 'Timeouts',
    max: MAX_DURATION,
    default: '75s',
    native: true,
    description: 'Idle time between two requests; then the connection is closed. 0: off',
  },
  {
    name: 'write-timeout',
    type: 'duration',
    section: 'Timeouts',
    max: MAX_DURATION,
    default: '30s',
    native: true,
    description:
      'Time without progress while a response is sent; then the connection is closed. 0: off',
  },
  {
    name: 'write-min-rate',
    type: 'size',
    section: 'Timeouts',
    min: '0',
    max: '1g',
    default: '256',
    native: true,
    description:
      'Minimum average rate at which a client reads a response, in bytes per second, checked after 10 s; below it the connection is closed',
  },
  {
    name: 'handler-timeout',
    type: 'duration',
    section: 'Timeouts',
    max: MAX_DURATION,
    default: '30s',
    native: true,
    description:
      'Time for a handler to begin its response; then 503. A handler that is still running is interrupted; if that is impossible, its reactor is replaced after twice the time. 0: off',
  },
  {
    name: 'drain-delay',
    type: 'duration',
    section: 'Shutdown',
    max: MAX_DURATION,
    default: '0',
    description: 'Time to continue serving after TERM, INT or QUIT before the drain begins',
  },
  {
    name: 'drain-timeout',
    type: 'duration',
    section: 'Shutdown',
    max: MAX_DURATION,
    default: '30s',
    description: 'Time for requests in progress to finish; then they are aborted. 0: abort at once',
  },
  {
    name: 'admin',
    type: 'addresses',
    section: 'Operation',
    default: '127.0.0.1:9464',
    restart: true,
    description:
      'Address of the status page, /livez, /readyz, /metrics and /status: host:port, a path, both separated by a comma, or off. moonring ctl needs the path, moonring top accepts either. If the default port is in use, the next free port is used',
  },
  {
    name: 'liveness-grace',
    type: 'duration',
    section: 'Operation',
    max: MAX_DURATION,
    default: '90s',
    restart: true,
    description:
      'A reactor without a heartbeat for this long is killed and replaced; must be longer than the slowest inline handler. 0: off',
  },
  {
    name: 'watch',
    type: 'switch',
    section: 'Operation',
    default: 'off',
    restart: true,
    description:
      'Reload when a file changes: the config file, a .lua file or C module beside the app, or the shared object',
  },
  {
    name: 'dev',
    type: 'switch',
    section: 'Operation',
    default: 'off',
    native: true,
    restart: true,
    description:
      'For development: implies --watch; the response to a request whose Lua handler fails, or to any request while the app cannot be reloaded, shows file, line, traceback and request. Refused if NODE_ENV is production',
  },
  {
    name: 'pin',
    type: 'switch',
    section: 'Operation',
    default: 'off',
    description: 'Pin the I/O thread of each reactor to one core (Linux)',
  },
  {
    name: 'log-level',
    type: 'choice',
    section: 'Logs and memory',
    placeholder: 'level',
    choices: LOG_LEVELS,
    default: 'info',
    native: true,
    description: 'Lowest level to log; the ready line is always written',
  },
  {
    name: 'log-file',
    type: 'path',
    section: 'Logs and memory',
    absent: 'standard output',
    restart: true,
    description: 'Log file; reopened on USR1',
  },
  {
    name: 'access-log',
    type: 'choice',
    section: 'Logs and memory',
    placeholder: 'format',
    choices: ['off', 'json', 'combined'],
    default: 'off',
    native: true,
    description: 'One line per request',
  },
  {
    name: 'access-log-file',
    type: 'path',
    section: 'Logs and memory',
    absent: 'standard output',
    native: true,
    description: 'Access log file; reopened on USR1',
  },
  {
    name: 'otlp',
    type: 'url',
    section: 'Logs and memory',
    absent: 'none',
    restart: true,
    description:
      'OpenTelemetry collector to which spans of requests are exported over OTLP/HTTP, for example http://127.0.0.1:4318; needs the packages of the OpenTelemetry SDK',
  },
  {
    name: 'trace-sample',
    type: 'count',
    section: 'Logs and memory',
    min: 1,
    max: 1_000_000,
    default: '100',
    description:
      'Trace one in this many requests without a traceparent, with --otlp; requests with one follow its sampled flag',
  },
  {
    name: 'allocator',
    type: 'choice',
    section: 'Logs and memory',
    placeholder: 'name',
    choices: ['jemalloc', 'system'],
    default: 'jemalloc',
    restart: true,
    description:
      'malloc of the reactors; system is used if jemalloc is not installed, and under a sanitizer',
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
    name: 'print-config',
    role: 'command',
    type: 'bool',
    section: 'Configuration',
    description: 'Print every option with its value and where it was set, then exit',
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
    description: 'Print the versions of moonring, llhttp, LuaJIT, OpenSSL and node',
  },
] as const satisfies readonly OptionSpec[];

type Spec = (typeof OPTIONS)[number];
/** An option that has a value in the configuration; the others have a `role`. */
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
      : S extends { type: 'path' | 'url' }
        ? string | null
        : S extends { type: 'switch' }
          ? boolean
          : S extends { type: 'hosts' | 'networks' | 'paths' | 'words' }
            ? readonly string[]
            : S extends { type: 'addresses' }
              ? readonly Address[]
              : S extends { type: 'sizes' }
                ? readonly NamedSize[]
                : string;

/**
 * The resolved configuration: bytes, milliseconds, absolute paths; `null` for a path or URL
 * that is not given.
 */
export type Config = { readonly [S in SettingSpec as CamelCase<S['name']>]: ValueOf<S> };
export type ConfigKey = keyof Config;

/** The part of the configuration that every reactor gets, under the same keys. */
export type NativeConfig = {
  readonly [S in Extract<SettingSpec, { native: true }> as CamelCase<S['name']>]: ValueOf<S>;
};

/** The written form of an option: sizes and durations are text, like "4m" and "30s". */
type WrittenOf<S> = S extends { type: 'size' }
  ? number | string
  : S extends { type: 'duration' | 'mode' }
    ? string
    : S extends { type: 'hosts' | 'networks' | 'paths' | 'words' }
      ? string | readonly string[]
      : S extends { type: 'addresses' }
        ? string
        : S extends { type: 'sizes' }
          ? string | Readonly<Record<string, number | string>>
          : NonNullable<ValueOf<S>>;

/** The options of a server as written in a program or the config file; all have defaults. */
export type ServerOptions = {
  readonly [S in SettingSpec as CamelCase<S['name']>]?: WrittenOf<S>;
};

export const ENV_PREFIX = 'MOONRING_';

export function flagOf({ name }: Pick<OptionSpec, 'name'>): string {
  return `--${name}`;
}

export function keyOf({ name }: Pick<OptionSpec, 'name'>): string {
  return name.replace(/-(.)/g, (_, letter: string) => letter.toUpperCase());
}

/** The environment variables that set an option, in order of precedence. */
export function envNamesOf(spec: OptionSpec): string[] {
  if (spec.role === 'command') return [];
  const own = ownEnvName(spec.name);
  return spec.alsoEnv === undefined ? [own] : [own, spec.alsoEnv];
}

export function ownEnvName(name: string): string {
  return `${ENV_PREFIX}${name.toUpperCase().replaceAll('-', '_')}`;
}

/** The options that have a value in the configuration. */
export function settings(): OptionSpec[] {
  return OPTIONS.filter((spec: OptionSpec) => isSetting(spec));
}

/** The options that every reactor gets. */
export function nativeSettings(): OptionSpec[] {
  return settings().filter(({ native }) => native === true);
}

export function nativeConfigOf(config: Config): NativeConfig {
  const keys = nativeSettings().map((spec) => keyOf(spec) as ConfigKey);
  return Object.fromEntries(keys.map((key) => [key, config[key]])) as NativeConfig;
}

/** Options of the master: a reload reports a change, only a restart applies it. */
export function restartKeys(): ConfigKey[] {
  return settings()
    .filter(({ restart }) => restart === true)
    .map((spec) => keyOf(spec) as ConfigKey);
}

function isSetting(spec: OptionSpec): boolean {
  return spec.role === undefined || spec.role === 'argument';
}
