import t from 'tap';
import { type ConfigInputs, configPath, resolveConfig } from '../../../src/shared/config.js';
import { MoonringError } from '../../../src/shared/errors.js';

interface Given {
  readonly flags?: Record<string, string>;
  readonly env?: Record<string, string>;
  readonly file?: unknown;
}

function inputs({ flags = {}, env = {}, file }: Given): ConfigInputs {
  const text = typeof file === 'string' ? file : JSON.stringify(file);
  const path = '/etc/moonring/config.json';
  return { flags, env, file: file === undefined ? null : { path, text }, cwd: '/srv/site' };
}

function errorOf(given: Given): { code: string; message: string } {
  try {
    resolveConfig(inputs(given));
  } catch (error) {
    if (error instanceof MoonringError) return { code: error.code, message: error.message };
    throw error;
  }
  return { code: 'none', message: '' };
}

t.test('defaults', async (t) => {
  const { config, sources } = resolveConfig(inputs({}));
  t.strictSame(config, {
    app: null,
    compat: 'none',
    port: 8080,
    host: ['127.0.0.1'],
    uds: null,
    udsMode: 0o660,
    accept: 'auto',
    bossPolicy: 'round-robin',
    trustedProxy: [],
    forwardedField: 'x-forwarded-for',
    proxyProtocol: false,
    tlsCert: [],
    tlsKey: [],
    tlsPort: 8443,
    tlsOcsp: [],
    tlsClientCa: null,
    tlsClientCert: 'require',
    tlsHandshakes: 0,
    tlsRedirect: false,
    dev: false,
    tlsHsts: 0,
    admin: [{ type: 'tcp', host: '127.0.0.1', port: 9464 }],
    livenessGrace: 90_000,
    watch: false,
    pin: false,
    bodyMinRate: 1024,
    writeMinRate: 256,
    wsMaxMessage: 1024 ** 2,
    wsMaxUnsent: 1024 ** 2,
    wsMaxFrames: 10_000,
    wsPingInterval: 30_000,
    wsCompress: 'off',
    maxBodyMemory: 256 * 1024 ** 2,
    logFile: null,
    accessLog: 'off',
    accessLogFile: null,
    otlp: null,
    traceSample: 100,
    backlog: 1024,
    processes: 'auto',
    minReactors: 1,
    threads: 4,
    dispatch: 'auto',
    shared: [],
    topics: 4 * 1024 ** 2,
    survive: 'all',
    maxConnections: 65_536,
    ringSize: 8192,
    maxBody: 4 * 1024 ** 2,
    maxUrl: 8192,
    maxHeaders: 64,
    luaMemory: 256 * 1024 ** 2,
    memoryLimit: 0,
    maxGenerations: 3,
    compress: [],
    compressTypes: [
      'text/*',
      'application/json',
      'application/javascript',
      'application/xml',
      'application/wasm',
      'image/svg+xml',
      '+json',
      '+xml',
    ],
    compressMinSize: 1024,
    compressGzipLevel: 6,
    compressBrLevel: 4,
    headerTimeout: 10_000,
    bodyTimeout: 30_000,
    keepaliveTimeout: 75_000,
    writeTimeout: 30_000,
    handlerTimeout: 30_000,
    drainDelay: 0,
    drainTimeout: 30_000,
    logLevel: 'info',
    allocator: 'jemalloc',
  });
  t.ok(Object.values(sources).every((source) => source.type === 'default'));
});

t.test('flag, then variable, then the platform’s variable, then file, then default', async (t) => {
  const layers: readonly [Given, number, string][] = [
    [
      { flags: { port: '1' }, env: { MOONRING_PORT: '2', PORT: '3' }, file: { port: 4 } },
      1,
      'flag',
    ],
    [{ env: { MOONRING_PORT: '2', PORT: '3' }, file: { port: 4 } }, 2, 'env'],
    [{ env: { PORT: '3' }, file: { port: 4 } }, 3, 'env'],
    [{ file: { port: 4 } }, 4, 'file'],
    [{}, 8080, 'default'],
  ];
  for (const [given, port, source] of layers) {
    const resolved = resolveConfig(inputs(given));
    t.equal(resolved.config.port, port);
    t.equal(resolved.sources.port.type, source);
  }
});

t.test('an empty variable counts as not set', async (t) => {
  const given = { env: { MOONRING_PORT: '', PORT: '' }, file: { port: 4 } };
  const { config } = resolveConfig(inputs(given));
  t.equal(config.port, 4);
});

t.test('WEB_CONCURRENCY is read; HOST, which shells export, is not', async (t) => {
  const { config } = resolveConfig(inputs({ env: { HOST: 'laptop', WEB_CONCURRENCY: '3' } }));
  t.strictSame(config.host, ['127.0.0.1']);
  t.equal(config.processes, 3);
});

t.test('an old name is still accepted everywhere, with a warning', async (t) => {
  const layers: readonly [Given, string][] = [
    [{ flags: { workers: '2' } }, '--workers is now called --threads'],
    [{ env: { MOONRING_WORKERS: '2' } }, 'MOONRING_WORKERS is now called MOONRING_THREADS'],
    [{ file: { workers: 2 } }, 'workers is now called threads'],
  ];
  for (const [given, warning] of layers) {
    const { config, warnings } = resolveConfig(inputs(given));
    t.equal(config.threads, 2);
    t.strictSame(warnings, [warning]);
  }
  const both = resolveConfig(inputs({ flags: { threads: '3' }, file: { workers: 2 } }));
  t.equal(both.config.threads, 3);
  t.strictSame(both.warnings, []);
});

t.test('several hosts: a list in text, an array in the file', async (t) => {
  const host = (given: Given) => resolveConfig(inputs(given)).config.host;
  t.strictSame(host({ flags: { host: '127.0.0.1,[::1]' } }), ['127.0.0.1', '::1']);
  t.strictSame(host({ env: { MOONRING_HOST: '*' } }), ['*']);
  t.strictSame(host({ file: { host: ['::1', '127.0.0.1'] } }), ['::1', '127.0.0.1']);
  t.match(errorOf({ file: { host: [] } }).message, '"host": must be text or a list of text');
  t.match(errorOf({ file: { host: ['::1', 4] } }).message, '"host": must be text or a list');
});

t.test('trusted proxies: a list in text, an array in the file', async (t) => {
  const codings = (given: Given) => resolveConfig(inputs(given)).config.compress;
  t.strictSame(codings({ flags: { compress: 'br, gzip' } }), ['br', 'gzip']);
  t.strictSame(codings({ flags: { compress: 'off' } }), []);
  t.strictSame(codings({ file: { compress: ['gzip'] } }), ['gzip']);
  t.match(errorOf({ flags: { compress: 'deflate' } }).message, '"deflate" is not gzip or br');
  t.match(errorOf({ flags: { compress: 'br,br' } }).message, '"br" is given twice');
  t.match(errorOf({ flags: { compressTypes: 'text' } }).message, 'is not a media type');
  const proxies = (given: Given) => resolveConfig(inputs(given)).config.trustedProxy;
  t.strictSame(proxies({ flags: { trustedProxy: '10.0.0.0/8,unix' } }), ['10.0.0.0/8', 'unix']);
  t.strictSame(proxies({ env: { MOONRING_TRUSTED_PROXY: 'loopback' } }), ['loopback']);
  t.strictSame(proxies({ file: { trustedProxy: ['::1', 'private'] } }), ['::1', 'private']);
  t.match(errorOf({ file: { trustedProxy: 10 } }).message, 'a list of text, like "10.0.0.0/8"');
  const wrong = errorOf({ flags: { trustedProxy: '::1,10.0.0.0/33' } }).message;
  t.match(wrong, '--trusted-proxy: "10.0.0.0/33" is not an address, a network like 10.0.0.0/8');
});

t.test('shared dictionaries: names and sizes in text, an object in the file', async (t) => {
  const shared = (given: Given) => resolveConfig(inputs(given)).config.shared;
  const cache = { name: 'cache', size: 16 * 1024 ** 2 };
  const limits = { name: 'limits', size: 1024 ** 2 };
  t.strictSame(shared({ flags: { shared: 'cache=16m,limits=1m' } }), [cache, limits]);
  t.strictSame(shared({ env: { MOONRING_SHARED: 'cache=16m' } }), [cache]);
  t.strictSame(shared({ file: { shared: { cache: '16m', limits: 1024 ** 2 } } }), [cache, limits]);
  t.strictSame(shared({ file: { shared: {} } }), []);
  const wrong: readonly [unknown, string][] = [
    ['cache', '"shared": "cache" is not name=size, like cache=16m'],
    [{ cache: '1k' }, '"shared": cache: must be from 256k to 64g, not 1k'],
    [{ '1st': '1m' }, '"shared": "1st" is not a name'],
    ['a=1m,a=2m', '"shared": "a" is given twice'],
    [{ cache: true }, 'must be an object of names and sizes, like {"cache": "16m"}'],
    [['cache=1m'], 'must be an object of names and sizes, like {"cache": "16m"}'],
  ];
  for (const [value, message] of wrong) {
    t.match(errorOf({ file: { shared: value } }).message, message, JSON.stringify(value));
  }
});

t.test('a switch can be turned off everywhere', async (t) => {
  const on = { file: { watch: true } };
  t.equal(resolveConfig(inputs(on)).config.watch, true);
  t.equal(resolveConfig(inputs({ ...on, flags: { watch: 'off' } })).config.watch, false);
  for (const text of ['off', 'false', '0']) {
    t.equal(resolveConfig(inputs({ ...on, env: { MOONRING_WATCH: text } })).config.watch, false);
  }
  t.equal(resolveConfig(inputs({ file: { watch: false } })).config.watch, false);
});

t.test('too little memory for a Lua state, and socket paths that are too long', async (t) => {
  t.match(errorOf({ file: { luaMemory: 1 } }).message, '"luaMemory": must be from 1m to 4095m');
  t.equal(resolveConfig(inputs({ file: { luaMemory: 0 } })).config.luaMemory, 0);
  const path = `/run/${'x'.repeat(200)}`;
  for (const key of ['uds', 'admin']) {
    t.match(errorOf({ flags: { [key]: path } }).message, /has 205 bytes, the system allows/, key);
  }
});

t.test('paths are relative to the place where they are written', async (t) => {
  const app = (given: Given) => resolveConfig(inputs(given)).config.app;
  t.equal(app({ flags: { app: 'a.lua' } }), '/srv/site/a.lua');
  t.equal(app({ env: { MOONRING_APP: './b' } }), '/srv/site/b');
  t.equal(app({ file: { app: '../c.lua' } }), '/etc/c.lua');
  t.equal(app({ flags: { app: '/d.lua' } }), '/d.lua');
  const admin = (given: Given) => resolveConfig(inputs(given)).config.admin;
  t.match(admin({ flags: { admin: './a.sock' } }), [{ path: '/srv/site/a.sock' }]);
  t.match(admin({ file: { admin: '127.0.0.1:1,./a.sock' } }), [
    { port: 1 },
    { path: '/etc/moonring/a.sock' },
  ]);
});

t.test('the config file is given by flag or variable', async (t) => {
  const path = (flags: Record<string, string>, env: Record<string, string>) =>
    configPath({ flags, env, cwd: '/srv/site' });
  t.equal(path({}, {}), null);
  t.equal(path({}, { MOONRING_CONFIG: '' }), null);
  t.equal(path({}, { MOONRING_CONFIG: 'm.json' }), '/srv/site/m.json');
  t.equal(path({ config: '/a.json' }, { MOONRING_CONFIG: 'm.json' }), '/a.json');
});

t.test('every error names its source', async (t) => {
  const file = '/etc/moonring/config.json';
  const usage: readonly [Given, string][] = [
    [{ flags: { port: 'x' } }, '--port: "x" is not a whole number'],
    [{ flags: { port: '65536' } }, '--port: must be from 0 to 65535, not 65536'],
    [{ flags: { app: '' } }, '[app]: the path is empty'],
    [{ flags: { processes: '0' } }, '--processes: must be from 1 to 1024, not 0'],
    [{ flags: { processes: 'many' } }, '--processes: "many" is not a whole number'],
    [{ flags: { host: '[::1' } }, '--host: "[::1" is not an address or a host name'],
    [{ env: { MOONRING_PORT: 'x' } }, 'MOONRING_PORT: "x" is not a whole number'],
    [{ env: { PORT: 'x' } }, 'PORT: "x" is not a whole number'],
    [{ env: { WEB_CONCURRENCY: '0' } }, 'WEB_CONCURRENCY: must be from 1 to 1024, not 0'],
    [
      { env: { MOONRING_LOG_LEVEL: 'trace' } },
      'MOONRING_LOG_LEVEL: "trace" is not one of debug, info, warn, error, fatal, off',
    ],
    [{ flags: { drainTimeout: '25h' } }, '--drain-timeout: must be from 0 to 24h, not 25h'],
    [
      { flags: { maxBody: '2m', maxBodyMemory: '1m' } },
      '--max-body-memory: 1m is less than max-body (2m): raise max-body-memory or lower max-body',
    ],
    [{ flags: { ringSize: '128' } }, '--ring-size: must be from 256 to 1m, not 128'],
    [{ flags: { ringSize: '3k' } }, '--ring-size: "3k" is not a power of two, like 8k'],
    [
      { flags: { maxUrl: '16k' } },
      '--max-url: 16k is more than ring-size (8k): raise ring-size or lower max-url',
    ],
  ];
  for (const [given, message] of usage) {
    t.strictSame(errorOf(given), { code: 'ERR_MOONRING_USAGE', message });
  }
  const config: readonly [unknown, string][] = [
    [{ port: 'x' }, `${file}: "port": "x" is not a whole number`],
    [{ port: true }, `${file}: "port": must be a number or text, like "8080"`],
    [{ port: 1.5 }, `${file}: "port": "1.5" is not a whole number`],
    [{ headerTimeout: 10 }, `${file}: "headerTimeout": must be text, like "10s"`],
    [{ app: null }, `${file}: "app": must be text, like "./file"`],
    [
      { ringSize: 256, maxUrl: 512 },
      `${file}: "maxUrl": 512 is more than ring-size (256): ${'raise ring-size or lower max-url'}`,
    ],
    [[], `${file} must hold one JSON object`],
    ['null', `${file} must hold one JSON object`],
  ];
  for (const [text, message] of config) {
    t.strictSame(errorOf({ file: text }), { code: 'ERR_MOONRING_CONFIG', message });
  }
  t.match(errorOf({ file: '{' }), { code: 'ERR_MOONRING_CONFIG', message: `${file} is not JSON` });
});

t.test('unknown names', async (t) => {
  t.match(errorOf({ file: { prot: 1 } }).message, 'unknown key "prot" (Did you mean port?)');
  t.match(errorOf({ file: { zebras: 1 } }).message, /unknown key "zebras"$/);
  t.match(errorOf({ file: { config: 'x' } }).message, 'unknown key "config"');
  t.match(errorOf({ file: { toString: 'x' } }).message, 'unknown key "toString"');
  t.match(errorOf({ file: '{"__proto__": {"port": 1}}' }).message, 'unknown key "__proto__"');
  const message = 'MOONRING_PROT: no such option (Did you mean MOONRING_PORT?)';
  t.strictSame(errorOf({ env: { MOONRING_PROT: '1' } }), { code: 'ERR_MOONRING_USAGE', message });
});

t.test('variables of other programs are ignored', async (t) => {
  const env = {
    MOONRING_ADDON: '/x.node',
    MOONRING_VERSION: '1.0',
    MOONRING_HOME: '/srv',
    MOONRING_PORT: 'tcp://10.0.0.1:80',
    MOONRING_SERVICE_HOST: '10.0.0.1',
    MOONRING_SERVICE_PORT: '80',
    MOONRING_PORT_80_TCP: 'tcp://10.0.0.1:80',
    MOONRING_PORT_80_TCP_PORT: '80',
  };
  t.equal(resolveConfig(inputs({ env })).config.port, 8080);
});

t.test('the memory for bodies is at least as large as the largest body', async (t) => {
  const { config } = resolveConfig(inputs({ flags: { maxBody: '1g' } }));
  t.equal(config.maxBodyMemory, 1024 ** 3);
  const unlimited = resolveConfig(inputs({ flags: { maxBody: '1g', maxBodyMemory: '0' } }));
  t.equal(unlimited.config.maxBodyMemory, 0);
});

t.test('the memory limit exceeds the shared dictionaries', async (t) => {
  const flags = { memoryLimit: '128m', shared: 'a=64m,b=64m' };
  const expected = '--memory-limit: 128m has no room beside shared (128m): raise memory-limit';
  t.match(errorOf({ flags }).message, expected);
  const { config } = resolveConfig(inputs({ flags: { ...flags, memoryLimit: '129m' } }));
  t.equal(config.memoryLimit, 129 * 1024 ** 2);
  t.match(errorOf({ flags: { memoryLimit: '64m' } }).message, 'must be from 96m to');
  t.equal(resolveConfig(inputs({ flags: { ...flags, memoryLimit: '0' } })).config.memoryLimit, 0);
});

t.test('TLS options without what they are about are mistakes', async (t) => {
  const flags = { tlsCert: 'a.pem', tlsKey: 'a.key' };
  for (const [lonely, expected] of [
    [{ tlsPort: '443' }, '--tls-port: has no effect without tls-cert'],
    [{ tlsHandshakes: '20' }, '--tls-handshakes: has no effect without tls-cert'],
    [{ ...flags, tlsClientCert: 'require' }, 'has no effect without tls-client-ca'],
  ] as const) {
    t.match(errorOf({ flags: lonely }).message, expected);
  }
  const { config } = resolveConfig(inputs({ flags: { ...flags, tlsPort: '443' } }));
  t.equal(config.tlsPort, 443);
});

t.test('a small ring lowers the default of max-url', async (t) => {
  const { config } = resolveConfig(inputs({ flags: { ringSize: '256' } }));
  t.equal(config.maxUrl, 256);
  const wide = resolveConfig(inputs({ flags: { ringSize: '64k' } }));
  t.equal(wide.config.maxUrl, 8192);
});

t.test('a config file accepts numbers where no unit is needed', async (t) => {
  const file = { port: 0, maxBody: 100, processes: 2, headerTimeout: 0, bodyTimeout: '5s' };
  const { config } = resolveConfig(inputs({ file }));
  t.match(config, { port: 0, maxBody: 100, processes: 2, headerTimeout: 0, bodyTimeout: 5000 });
});

t.test('a byte order mark before the JSON is accepted', async (t) => {
  t.equal(resolveConfig(inputs({ file: '\uFEFF{"port": 81}' })).config.port, 81);
});

t.test('a path with a NUL is rejected', async (t) => {
  const { code, message } = errorOf({ file: { uds: '/run/a\0b' } });
  t.equal(code, 'ERR_MOONRING_CONFIG');
  t.match(message, 'a path cannot contain NUL');
});
