// nginx and h2o: servers that want a configuration file, and to know their port beforehand.
import { existsSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createConnection, createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { BENCH, hasProgram, portOfNumber, startServer } from './programs.mjs';

const NGINX_MODULES = [
  '/usr/lib/nginx/modules/ndk_http_module.so',
  '/usr/lib/nginx/modules/ngx_http_lua_module.so',
];
const ATTEMPTS = 100;
const ATTEMPT_INTERVAL_MS = 50;

// As root they would run as a user who may not read this directory.
const isRoot = () => process.getuid() === 0;

async function freePort() {
  const server = createServer();
  await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address();
  await new Promise((resolve) => server.close(resolve));
  return port;
}

function accepts(port) {
  return new Promise((resolve) => {
    const socket = createConnection(port, '127.0.0.1');
    socket.once('connect', () => resolve(true)).once('error', () => resolve(false));
    socket.once('connect', () => socket.destroy());
  });
}

// `write(dir, port)` writes the configuration and returns the command line. The shell prints the
// port: such a server itself says nothing when it is ready.
async function startConfigured(name, write) {
  const dir = mkdtempSync(join(tmpdir(), `moonring-bench-${name}-`));
  const port = await freePort();
  const command = write(dir, port);
  const server = await startServer({
    command: 'sh',
    args: ['-c', `echo ${port}; exec "$@"`, 'sh', ...command],
    portOf: portOfNumber,
  });
  const stop = async () => {
    await server.stop();
    rmSync(dir, { recursive: true });
  };
  for (let attempt = 0; !(await accepts(port)); attempt++) {
    if (attempt === ATTEMPTS) {
      await stop();
      throw new Error(`${name} does not answer`);
    }
    await delay(ATTEMPT_INTERVAL_MS);
  }
  return { ...server, stop };
}

function nginxConfig(dir, port, { modules, location }) {
  return `
${modules.map((path) => `load_module ${path};`).join('\n')}
daemon off;
${isRoot() ? 'user root;' : ''}
worker_processes 1;
worker_rlimit_nofile 16384;
pid ${dir}/nginx.pid;
error_log stderr crit;
events { worker_connections 8192; }
http {
  access_log off;
  server_tokens off;
  keepalive_requests 1000000000;
  client_body_temp_path ${dir}/tmp;
  proxy_temp_path ${dir}/tmp;
  fastcgi_temp_path ${dir}/tmp;
  uwsgi_temp_path ${dir}/tmp;
  scgi_temp_path ${dir}/tmp;
  ${modules.length > 0 ? `lua_package_path '${BENCH}/peers/?.lua;;';` : ''}
  server {
    listen 127.0.0.1:${port} reuseport;
    location / {
      default_type text/plain;
      ${location}
    }
  }
}
`;
}

function startNginx(options) {
  return startConfigured('nginx', (dir, port) => {
    mkdirSync(join(dir, 'tmp'));
    writeFileSync(join(dir, 'nginx.conf'), nginxConfig(dir, port, options));
    return ['nginx', '-p', dir, '-c', join(dir, 'nginx.conf'), '-e', 'stderr'];
  });
}

export function nginxMissing() {
  return hasProgram('nginx') ? undefined : 'nginx is not installed (Debian: nginx-light)';
}

export function nginxLuaMissing() {
  return hasProgram('nginx') && NGINX_MODULES.every((path) => existsSync(path))
    ? undefined
    : 'nginx with the Lua module is not installed (Debian: nginx-light libnginx-mod-http-lua)';
}

export function startNginxStatic() {
  return startNginx({ modules: [], location: `return 200 'hello, world\\n';` });
}

export function startNginxHello() {
  const location = `content_by_lua_block {
        ngx.header['Content-Length'] = 13
        ngx.print('hello, world\\n')
      }`;
  return startNginx({ modules: NGINX_MODULES, location });
}

export function startNginxApp() {
  const location = `content_by_lua_block { require('app').handle() }`;
  return startNginx({ modules: NGINX_MODULES, location });
}

export function h2oMissing() {
  return hasProgram('h2o') ? undefined : 'h2o is not installed (Debian: h2o)';
}

// JSON is YAML too.
export function startH2o() {
  return startConfigured('h2o', (dir, port) => {
    const file = join(dir, 'h2o.conf');
    const config = {
      ...(isRoot() ? { user: 'root' } : {}),
      'num-threads': 1,
      'max-connections': 8192,
      'send-server-name': 'OFF',
      listen: { host: '127.0.0.1', port },
      hosts: {
        default: { paths: { '/': { 'mruby.handler-file': join(BENCH, 'peers', 'hello.rb') } } },
      },
    };
    writeFileSync(file, JSON.stringify(config, null, 2));
    return ['h2o', '-c', file];
  });
}
