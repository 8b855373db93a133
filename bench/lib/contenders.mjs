// The servers that bench/run.mjs compares. Each says why it cannot run here, or starts and answers
// GET <path>.
import { existsSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createConnection, createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { BENCH, hasProgram, portOfNumber, ROOT, startMoonring, startServer } from './programs.mjs';

const NGINX_MODULES = [
  '/usr/lib/nginx/modules/ndk_http_module.so',
  '/usr/lib/nginx/modules/ngx_http_lua_module.so',
];

function moonringMissing() {
  const needed = [join(ROOT, 'dist', 'master.js'), join(ROOT, 'build', 'release', 'moonring.node')];
  const missing = needed.find((path) => !existsSync(path));
  return missing ? `${missing} is not built (npm run build)` : undefined;
}

function nodePeer(file) {
  return startServer({
    command: process.execPath,
    args: [join(BENCH, 'peers', file)],
    portOf: portOfNumber,
    environment: { NODE_ENV: 'production' },
  });
}

// nginx cannot take port 0, so the kernel picks one for us first.
async function freePort() {
  const server = createServer();
  await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address();
  await new Promise((resolve) => server.close(resolve));
  return port;
}

function nginxConfig(dir, port) {
  return `
${NGINX_MODULES.map((path) => `load_module ${path};`).join('\n')}
daemon off;
master_process on;
worker_processes 1;
pid ${dir}/nginx.pid;
error_log stderr crit;
events { worker_connections 4096; }
http {
  access_log off;
  keepalive_requests 1000000000;
  client_body_temp_path ${dir}/tmp;
  proxy_temp_path ${dir}/tmp;
  fastcgi_temp_path ${dir}/tmp;
  uwsgi_temp_path ${dir}/tmp;
  scgi_temp_path ${dir}/tmp;
  server {
    listen 127.0.0.1:${port} reuseport;
    location / {
      default_type text/plain;
      content_by_lua_block {
        ngx.header['Content-Length'] = 13
        ngx.print('hello, world\\n')
      }
    }
  }
}
`;
}

async function answers(port) {
  return new Promise((resolve) => {
    const socket = createConnection(port, '127.0.0.1');
    socket.once('connect', () => resolve(true)).once('error', () => resolve(false));
    socket.once('connect', () => socket.destroy());
  });
}

async function startNginx() {
  const dir = mkdtempSync(join(tmpdir(), 'moonring-bench-nginx-'));
  mkdirSync(join(dir, 'tmp'));
  const port = await freePort();
  writeFileSync(join(dir, 'nginx.conf'), nginxConfig(dir, port));
  // The shell prints the port: nginx itself says nothing when it is ready.
  const server = await startServer({
    command: 'sh',
    args: ['-c', `echo ${port}; exec nginx -p ${dir} -c ${dir}/nginx.conf -e stderr`],
    portOf: portOfNumber,
  });
  for (let attempt = 0; !(await answers(port)); attempt++) {
    if (attempt === 100) {
      throw new Error('nginx does not answer');
    }
    await delay(50);
  }
  const stop = async () => {
    await server.stop();
    rmSync(dir, { recursive: true });
  };
  return { ...server, stop };
}

/** In the order of the table. `helpers` is what buildHelpers returns. */
export function contenders(helpers) {
  return [
    {
      name: 'raw',
      path: '/',
      missing: () => undefined,
      start: () => startServer({ command: helpers.raw, args: [], portOf: portOfNumber }),
    },
    {
      name: 'moonring-hello',
      path: '/',
      missing: moonringMissing,
      start: () => startMoonring(join(ROOT, 'examples', 'hello.lua')),
    },
    {
      name: 'moonring-app',
      path: '/users/42',
      missing: moonringMissing,
      start: () => startMoonring(join(BENCH, 'apps', 'app-like.lua')),
    },
    {
      name: 'nginx-lua',
      path: '/',
      missing: () =>
        hasProgram('nginx') && NGINX_MODULES.every((path) => existsSync(path))
          ? undefined
          : 'nginx with the Lua module is not installed (Debian: nginx-light libnginx-mod-http-lua)',
      start: startNginx,
    },
    {
      name: 'node-http',
      path: '/',
      missing: () => undefined,
      start: () => nodePeer('node-http.mjs'),
    },
    {
      name: 'fastify',
      path: '/',
      missing: () =>
        existsSync(join(BENCH, 'peers', 'node_modules', 'fastify'))
          ? undefined
          : 'fastify is not installed (npm install --prefix bench/peers)',
      start: () => nodePeer('fastify.mjs'),
    },
  ];
}

/**
 * The contenders whose name is, or begins with, one of `names` and a dash; all of them without
 * names.
 */
export function chooseContenders(all, names) {
  if (names.length === 0) {
    return all;
  }
  const unknown = names.filter(
    (name) => !all.some((one) => one.name === name || one.name.startsWith(`${name}-`)),
  );
  if (unknown.length > 0) {
    throw new Error(
      `No such contender: ${unknown.join(', ')}. There are: ${all.map((one) => one.name).join(', ')}.`,
    );
  }
  return all.filter((one) =>
    names.some((name) => one.name === name || one.name.startsWith(`${name}-`)),
  );
}
