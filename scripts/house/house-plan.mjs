/*
 * The house plan as data: what may see what, how large things may be, which words are not used.
 * check-house enforces it; CONTRIBUTING explains it.
 */

/** Floors of native/src, lowest first. A file includes its own floor and lower ones. */
export const floors = ['base', 'data', 'os', 'http', 'exec', 'conn', 'server'];

/**
 * The public headers: every floor may include them, and of native/ the binding sees nothing else.
 */
export const publicHeaders = ['httpserver.h', 'httpserver_socket.h', 'httpserver_supervise.h'];

/**
 * Headers that only some files may include. `header` is matched against what stands between < and >
 * or quotes.
 */
export const reservedHeaders = [
  { header: /^llhttp\.h$/, only: /^native\/src\/http\//, where: 'native/src/http' },
  {
    header: /^(lua|lualib|lauxlib|luajit)\.h(pp)?$/,
    only: /^native\/src\/exec\/hs_lua\w*\.[ch]$/,
    where: 'native/src/exec/hs_lua*',
  },
  {
    header:
      /^(sys\/(socket|un|epoll|event|eventfd|timerfd|signalfd|select|poll|time)|poll|netdb)\.h$/,
    only: /^native\/src\/os\//,
    where: 'native/src/os',
  },
  {
    header: /^(netinet|arpa|net)\//,
    only: /^native\/src\/os\//,
    where: 'native/src/os',
  },
];

/** Names that only some files may use. Comments and strings do not count. */
export const reservedNames = [
  {
    rule: 'allocator',
    name: /(?<![\w.>])(malloc|calloc|realloc|free|posix_memalign|aligned_alloc|strn?dup)\s*\(/,
    only: /^native\/src\/(base\/hs_alloc\.h|os\/hs_ev\.h)$/,
    sentence: 'call hs_alloc, hs_free and their kind: only base/hs_alloc.h names an allocator',
  },
  {
    rule: 'jemalloc',
    name: /\bje_\w+/,
    only: /^$/,
    sentence: 'the allocator is preloaded, never called by name',
  },
  {
    rule: 'clock',
    name: /\b(clock_\w+time|gettimeofday|(clock_)?nanosleep|usleep|time\s*\(\s*(NULL|0)\s*\))/,
    only: /^native\/src\/os\//,
    sentence: 'time is handed in as data: only os/ asks a clock or sleeps',
  },
  {
    rule: 'platform',
    name: /\b(__linux__|__APPLE__|__FreeBSD__|__MACH__|_WIN32)\b/,
    only: /^native\/src\/os\//,
    sentence: 'platform differences live in os/',
  },
  {
    rule: 'weak',
    name: /__attribute__\s*\(\(\s*(weak|__weak__)\b|#\s*pragma\s+weak\b/,
    only: /^$/,
    sentence: 'no weak symbols: a test seam is a function argument',
  },
];

/** Headers of the C library that the public header may include. */
export const standardHeaders = /^(stdarg|stdbool|stddef|stdint|inttypes|limits|time)\.h$/;

/**
 * What the binding may include between < and >: Node-API and the C++ and C libraries, no system
 * interface of node.
 */
export const bindingForbidden = /^(node|uv|v8)(\/.*)?(\.h)?$/;

/** Files of src/ that hold decisions only: they get time, signals and processes as data. */
export const pureFiles = [
  'src/master/supervisor.ts',
  'src/master/supervision.ts',
  'src/master/slots.ts',
  'src/master/exits.ts',
  'src/master/reload.ts',
  'src/master/scaling.ts',
  'src/master/shutdown.ts',
  'src/master/backoff.ts',
  'src/master/liveness.ts',
  'src/master/metrics.ts',
  'src/master/exposition.ts',
  'src/master/status.ts',
  'src/master/activation.ts',
  'src/master/cli.ts',
  'src/reactor/lifecycle.ts',
];

/** Node modules that a pure file may use. */
export const pureModules = ['node:path', 'node:util'];

export const entries = ['src/master.ts', 'src/reactor.ts', 'src/checker.ts'];
export const addonLoader = 'src/shared/native.ts';
/**
 * Modules that reach another process, and who may: the master's end of a reactor, the reactor's end
 * of the IPC, and the two commands that are programs of their own.
 */
export const processModules = [
  {
    name: /^(node:)?child_process$/,
    only: [
      'src/master/reactor-process.ts',
      'src/master/handler-check.ts',
      'src/master/addon-build.ts',
    ],
  },
  {
    name: /^(node:)?cluster$/,
    only: ['src/master/reactor-process.ts', 'src/reactor/channel.ts'],
  },
];

/** Most lines a file may have, by extension. */
export const fileLines = { c: 500, h: 500, cc: 300, ts: 300, mjs: 300, lua: 300 };

/** Most lines a function may have, its braces included. */
export const functionLines = 70;

/** Most characters on a line. */
export const lineColumns = 100;

/** Names that say nothing about what is inside. */
export const emptyNames = ['utils', 'util', 'helpers', 'helper', 'tools', 'common', 'misc'];

/** The one test file that may let time pass: it asks again until something has become true. */
export const pollingFile = 'test/e2e/until.ts';
