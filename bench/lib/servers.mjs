// The programs of a benchmark: the C helpers (built on demand), servers, and the requests to them.
import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { connect, createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { setTimeout as delay } from 'node:timers/promises';
import { BENCH, hasProgram, pinned, ROOT } from './command.mjs';
import { ask, mustBeValid, runWrk } from './load.mjs';
import { reactorOf, threadTimes } from './processes.mjs';

export const HELLO = join(ROOT, 'examples/hello.lua');
const BUILD = join(ROOT, 'build/bench');
export const PEERS = join(BENCH, 'peers');
export const BUN = join(
  PEERS,
  `node_modules/@oven/bun-linux-${process.arch === 'arm64' ? 'aarch64' : process.arch}/bin/bun`,
);
export const NGINX_LUA = ['ndk_http_module.so', 'ngx_http_lua_module.so'].map(
  (name) => `/usr/lib/nginx/modules/${name}`,
);

/** The kinds of loops in apps/loops.lua. */
export const LOOPS = ['count', 'bxor', 'float', 'array', 'string', 'ffi'];
const loopWork = (kind) => [
  `loop-${kind}`,
  { path: `/${kind}?200000`, type: 'text/plain', body: /^\d+\n$/ },
];

/** The requests, and the expected responses. */
export const WORKS = {
  hello: { type: 'text/plain', body: 'hello, world\n' },
  app: { path: '/users/42', agent: 'bench', type: 'application/json', body: /^\{"id":42,"host":/ },
  page: { path: '/page', type: 'text/html', responseBytes: 20 * 1024 },
  large: { path: '/large', connections: 16, type: 'text/plain', responseBytes: 1024 ** 2 },
  'echo-1k': { path: '/echo', bodyBytes: 1024, type: 'text/plain', responseBytes: 1024 },
  'echo-1m': {
    path: '/echo',
    connections: 16,
    bodyBytes: 1024 ** 2,
    type: 'text/plain',
    responseBytes: 1024 ** 2,
  },
  proxy: { path: '/proxy', type: 'text/plain', body: 'hello, world\n' },
  redis: { path: '/redis', type: 'text/plain', body: 'hello, world\n' },
  'redis-pooled': { path: '/redis-pooled', type: 'text/plain', body: 'hello, world\n' },
  ...Object.fromEntries(LOOPS.map(loopWork)),
};

/** Compiles the C helpers if needed and returns their paths. */
export function buildHelpers() {
  const options = { stdio: ['ignore', 'ignore', 'inherit'] };
  execFileSync('cmake', ['-S', BENCH, '-B', BUILD], options);
  execFileSync('cmake', ['--build', BUILD], options);
  return {
    raw: join(BUILD, 'bench_raw'),
    paced: join(BUILD, 'bench_paced'),
    websocket: join(BUILD, 'bench_websocket'),
    stepCount: join(BUILD, 'bench_step_count'),
    mallocCount: join(BUILD, 'bench_malloc_count.so'),
  };
}

/** A C handler built as by a user, with the header of the server in `root`. */
export function buildHelloC(root = ROOT) {
  mkdirSync(BUILD, { recursive: true });
  const output = join(BUILD, `hello-c-${Buffer.from(root).toString('base64url')}.so`);
  const flags = ['-std=c11', '-O2', '-shared', '-fPIC', `-I${join(root, 'native/include')}`];
  execFileSync('cc', [...flags, '-o', output, join(BENCH, 'apps/hello-c.c')]);
  return output;
}

/**
 * Starts a server on its core (`cores: 'all'`: on every core, 'load': on the load generator's) and
 * waits until `portOf(line)` finds a port in a line of its output. Returns
 * { pid, port, lines, stop }; `lines` emits each further line.
 */
export async function startServer(command, { environment = {}, cores = 'one', portOf = Number }) {
  const [program, ...args] = cores === 'all' ? command : pinned(cores === 'load' ? 1 : 0, command);
  // A server must not inherit variables that change how Node runs it.
  const env = { ...process.env, NODE_OPTIONS: '', ...environment };
  const child = spawn(program, args, { env, stdio: ['ignore', 'pipe', 'inherit'] });
  const exited = once(child, 'exit');
  const stop = async () => {
    child.kill('SIGTERM');
    const force = setTimeout(() => child.kill('SIGKILL'), 5000);
    await exited;
    clearTimeout(force);
  };
  const lines = createInterface({ input: child.stdout });
  const port = await new Promise((resolve, reject) => {
    lines.on('line', (line) => {
      const found = portOf(line);
      if (found) resolve(found);
    });
    exited.then(([code, signal]) => reject(new Error(`${program} ended: ${code ?? signal}`)));
  });
  return { pid: child.pid, port, lines, stop };
}

/**
 * Starts the server in `root` with the given app, by default with one reactor and without an admin
 * listener. `tls`: the port is the TLS port.
 */
export function startMoonring(app, how = {}) {
  const { root = ROOT, subcommand = [], options = [], processes = 1, tls = false } = how;
  const { admin = 'off', environment, cores } = how;
  const usual = ['--port', '0', '--processes', String(processes), '--admin', admin];
  const quiet = ['--log-level', 'warn'];
  // Of an option that is given twice the last one counts.
  const args = [...subcommand, ...usual, ...quiet, ...options, app];
  const command = [process.execPath, join(root, 'dist/master.js'), ...args];
  const portOf = (line) => {
    if (!line.includes('"msg":"ready"')) return undefined;
    const { port, addresses } = JSON.parse(line);
    return tls ? Number(new URL(addresses.find((each) => each.startsWith('https:'))).port) : port;
  };
  return startServer(command, { environment, cores, portOf });
}

/**
 * Starts it and warms it up so that its traces are compiled; adds the pid of the reactor and the
 * id of its I/O thread.
 */
export async function startWarm(app, { path, ...how } = {}) {
  const server = await startMoonring(app, how);
  return { ...server, ...(await warmUp(server, reactorOf(server.pid), path)) };
}

/** `ioThread` is the thread of `pid` that uses most CPU time under load. */
export async function warmUp({ port }, pid, path = '/') {
  const before = threadTimes(pid);
  for (const depth of [1, 16]) mustBeValid(await runWrk({ port, path, seconds: 1, depth }));
  const spent = [...threadTimes(pid)].map(([id, time]) => [time - (before.get(id) ?? 0), id]);
  return { reactorPid: pid, ioThread: spent.sort(([a], [b]) => b - a)[0][1] };
}

const APPS = {
  app: 'apps/app-like.lua',
  proxy: 'apps/proxy.lua',
  redis: 'apps/redis.lua',
  'redis-pooled': 'apps/redis.lua',
  ...Object.fromEntries(LOOPS.map((kind) => [`loop-${kind}`, 'apps/loops.lua'])),
};

/** The app of this work for the Moonring in `root`. */
function appOf(work, root) {
  if (work === 'hello') return join(root, 'examples/hello.lua');
  return join(BENCH, APPS[work] ?? 'apps/workloads.lua');
}

/**
 * The servers that a work sends requests to, if any. Contenders find their port in the environment.
 */
export async function startUpstream(work, helpers) {
  if (work.startsWith('redis')) return startRedis();
  if (work !== 'proxy') return undefined;
  const server = await startServer([helpers.raw], { cores: 'all' });
  process.env.UPSTREAM = String(server.port);
  return server;
}

/** A redis-server with one key, on the load generator's core. */
async function startRedis() {
  if (!hasProgram('redis-server')) throw new Error('Not installed: redis-server.');
  const port = String(await freePort());
  const command = ['redis-server', '--port', port, '--bind', '127.0.0.1', '--save', ''];
  const server = await startServer(command, {
    cores: 'load',
    portOf: (line) => (line.includes('Ready to accept connections') ? Number(port) : undefined),
  });
  const client = connect(Number(port), '127.0.0.1');
  client.write('SET hello "hello, world\\n"\r\n');
  await once(client, 'data');
  client.destroy();
  process.env.UPSTREAM = port;
  return server;
}

async function freePort() {
  const probe = createServer().listen(0, '127.0.0.1');
  await once(probe, 'listening');
  const { port } = probe.address();
  await new Promise((resolve) => probe.close(resolve));
  return port;
}

const startNode = (file) =>
  startServer([process.execPath, join(PEERS, file)], {
    environment: { NODE_ENV: 'production' },
  });

/**
 * The contenders: what is missing to run one, its works (default: all), and how it is started.
 *
 * @param {ReturnType<typeof buildHelpers>} helpers
 * @param {{ baseline?: string, addon?: string }} [others] another checkout, built; another addon for this one
 */
export function contenders(helpers, { baseline, addon } = {}) {
  const moonring = (root, how = {}) => ({
    missing: () =>
      ['dist/master.js', 'build/release/moonring.node']
        .filter((path) => !existsSync(join(root, path)))
        .map((path) => `${join(root, path)} is not built`)[0],
    start: (work) => startMoonring(appOf(work, root), { root, ...how }),
  });
  const c = (root, how = {}) => ({
    ...moonring(root),
    works: ['hello'],
    start: () => startMoonring(buildHelloC(root), { root, ...how }),
  });
  const withAddon = { environment: { MOONRING_ADDON: addon } };
  return {
    raw: { works: ['hello'], start: () => startServer([helpers.raw], {}) },
    c: c(ROOT),
    lua: moonring(ROOT),
    ...(baseline ? { 'baseline-c': c(baseline), 'baseline-lua': moonring(baseline) } : {}),
    ...(addon ? { 'addon-c': c(ROOT, withAddon), 'addon-lua': moonring(ROOT, withAddon) } : {}),
    nginx: {
      missing: () =>
        hasProgram('nginx') && NGINX_LUA.every((path) => existsSync(path))
          ? undefined
          : 'Debian: nginx-light libnginx-mod-http-lua',
      start: () => startNginx(nginxLua, NGINX_LUA),
    },
    bun: {
      missing: () =>
        existsSync(BUN) ? undefined : 'npm install --prefix bench/peers --no-package-lock',
      works: Object.keys(WORKS).filter((work) => !/^(proxy|redis|loop)/.test(work)),
      start: () => startServer([BUN, join(PEERS, 'bun.mjs')], {}),
    },
    node: { works: ['hello'], start: () => startNode('node-http.mjs') },
    fastify: {
      works: ['hello', 'proxy'],
      missing: () =>
        existsSync(join(PEERS, 'node_modules/@fastify/http-proxy'))
          ? undefined
          : 'npm install --prefix bench/peers --no-package-lock',
      start: (work) => startNode(work === 'proxy' ? 'proxy.mjs' : 'fastify.mjs'),
    },
  };
}

/** Why a response is not the expected one; undefined if it is. */
export function faultOf({ status, headers, body }, work) {
  if (status !== 200) return `status ${status}`;
  const { body: wanted, responseBytes } = work;
  const isRight =
    wanted instanceof RegExp ? wanted.test(body) : wanted === undefined || body === wanted;
  if (!isRight || (responseBytes && body.length !== responseBytes)) {
    return `another body: ${body.slice(0, 80)}`;
  }
  if (!headers['content-type']?.startsWith(work.type)) return `type ${headers['content-type']}`;
  return headers.date ? undefined : 'no Date';
}

/** Starts a contender; it is not measured if its response is not the expected one. */
export async function startChecked(contender, name, workName) {
  const server = await contender.start(workName);
  const work = WORKS[workName];
  const fault = await ask(server.port, work).then(
    (response) => faultOf(response, work),
    (error) => error.message,
  );
  return { ...server, name, work, fault };
}

/**
 * Debian's nginx, by default with one worker; `http` returns the content of its http block, for a
 * port. It accepts no port 0, and as root it would switch to a user who may not read these files.
 */
export async function startNginx(http, modules = [], { workers = 1, cores = 'one' } = {}) {
  const directory = mkdtempSync(join(tmpdir(), 'moonring-bench-'));
  const port = await freePort();
  mkdirSync(join(directory, 'tmp'));
  const temporary = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi']
    .map((name) => `${name}_temp_path ${directory}/tmp;`)
    .join(' ');
  writeFileSync(
    join(directory, 'nginx.conf'),
    `${modules.map((path) => `load_module ${path};`).join('\n')}
daemon off;
env UPSTREAM;
${process.getuid() === 0 ? 'user root;' : ''}
worker_processes ${workers};
worker_rlimit_nofile 16384;
pid ${directory}/nginx.pid;
error_log stderr crit;
events { worker_connections 8192; }
http {
  access_log off;
  server_tokens off;
  keepalive_requests 1000000000;
  ${temporary}
  ${http(port)}
}
`,
  );
  const command = ['nginx', '-p', directory, '-c', join(directory, 'nginx.conf'), '-e', 'stderr'];
  const script = `echo ${port}; exec "$@"`;
  const server = await startServer(['sh', '-c', script, 'sh', ...command], { cores });
  const stop = async () => {
    await server.stop();
    rmSync(directory, { recursive: true });
  };
  for (let attempt = 0; attempt < 100; attempt += 1) {
    if (await ask(port).catch(() => null)) return { ...server, stop };
    await delay(50);
  }
  await stop();
  throw new Error('nginx does not answer');
}

const nginxLua = (port) => `
  client_max_body_size 2m;
  client_body_buffer_size 2m;
  lua_package_path '${PEERS}/?.lua;;';
  init_by_lua_block { require 'app' }
  upstream proxied { server 127.0.0.1:${process.env.UPSTREAM ?? 1}; keepalive 128; keepalive_requests 1000000000; }
  server {
    listen 127.0.0.1:${port} reuseport;
    location /proxy {
      proxy_pass http://proxied;
      proxy_http_version 1.1;
      proxy_set_header Connection "";
    }
    location / { content_by_lua_block { require('app').handle() } }
  }`;
