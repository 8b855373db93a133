import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { metricsOf } from './admin-client.js';
import { listensAt } from './listening.js';
import { connectRaw, type RawClient, requestText } from './raw-client.js';
import { type Server, startServer } from './server.js';
import { socketDirectory } from './socket-directory.js';
import { until } from './until.js';

/*
 * nginx in front of the server, as a proxy that keeps connections alive. nginx listens on a Unix
 * socket, so that it needs no port.
 */

const REQUESTS = 200;
const CONNECTIONS = 8;
const PROGRAMS = ['/usr/sbin/nginx', '/usr/local/sbin/nginx', '/usr/local/bin/nginx'];

const program = PROGRAMS.find((path) => existsSync(path));
const skip = program ? false : 'nginx is not installed';

function configuration(directory: string, upstream: string): string {
  return `
daemon off;
master_process off;
pid ${directory}/pid;
error_log ${directory}/error.log warn;
events { worker_connections 128; }
http {
  access_log off;
  client_body_temp_path ${directory}/body;
  proxy_temp_path ${directory}/proxy;
  fastcgi_temp_path ${directory}/fastcgi;
  uwsgi_temp_path ${directory}/uwsgi;
  scgi_temp_path ${directory}/scgi;
  upstream moonring { server ${upstream}; keepalive 4; }
  server {
    listen unix:${directory}/front;
    client_max_body_size 8m;
    location / {
      proxy_pass http://moonring;
      proxy_http_version 1.1;
      proxy_request_buffering off;
      proxy_set_header Connection "";
      proxy_set_header Host $host;
    }
  }
}
`;
}

/** Starts nginx with `upstream` behind it and returns the path of its Unix socket. */
async function startNginx(t: Test, upstream: string): Promise<string> {
  const directory = mkdtempSync(join(tmpdir(), 'moonring-nginx-'));
  const front = join(directory, 'front');
  const file = join(directory, 'nginx.conf');
  writeFileSync(file, configuration(directory, upstream));
  const nginx = spawn(program ?? '', ['-c', file, '-p', directory], { stdio: 'inherit' });
  t.teardown(async () => {
    // A SIGTERM just before it waits for events is noticed only at the next one.
    nginx.kill('SIGKILL');
    if (nginx.exitCode === null && nginx.signalCode === null) await once(nginx, 'exit');
    rmSync(directory, { recursive: true });
  });
  await until('nginx listens', () => listensAt(front));
  return front;
}

async function proxyWorks(t: Test, front: string): Promise<void> {
  const client = await connectRaw(t, { path: front });
  for (let i = 0; i < REQUESTS; i++) {
    const body = `number ${i}`;
    const headers = { 'Content-Length': String(body.length), 'Content-Type': 'text/plain' };
    const head = requestText('/echo', { method: 'POST', headers });
    const answer = await client.request(head + body, 'POST');
    if (answer.status !== 200 || answer.body.toString() !== body) t.fail(`${body}: ${answer.head}`);
  }
  t.equal((await client.request(requestText('/'))).body.toString(), 'hello, world\n');
  t.equal((await client.request(requestText('/', { method: 'HEAD' }), 'HEAD')).status, 200);
  t.equal((await client.request(requestText('/nothing'))).status, 404);

  await largeContentWorks(t, client);
}

async function largeContentWorks(t: Test, client: RawClient): Promise<void> {
  const large = Buffer.alloc(1024 * 1024, 'y');
  const chunked = { 'Transfer-Encoding': 'chunked' };
  await client.send(
    requestText('/echo', { method: 'POST', headers: chunked }),
    `${large.length.toString(16)}\r\n`,
    large,
    '\r\n0\r\n\r\n',
  );
  t.ok((await client.next('POST')).body.equals(large), 'a chunked upload without buffering');

  const tooLarge = { 'Content-Length': String(5 * 1024 * 1024), Expect: '100-continue' };
  const refused = requestText('/echo', { method: 'POST', headers: tooLarge });
  await client.send(refused);
  let answer = await client.next('POST');
  if (answer.status === 100) {
    await client.send(Buffer.alloc(5 * 1024 * 1024));
    answer = await client.next('POST');
  }
  t.equal(answer.status, 413, 'the refusal comes through');
}

/** nginx keeps upstream connections alive: it needs only a few of them for many requests. */
async function fewConnectionsWereMade(t: Test, server: Server): Promise<void> {
  const metrics = [...(await metricsOf(server))];
  const accepted = metrics
    .filter(([sample]) => sample.startsWith('moonring_connections_accepted_total'))
    .reduce((sum, [, value]) => sum + value, 0);
  t.ok(accepted > 0 && accepted <= CONNECTIONS, `${accepted} connections`);
}

t.test('nginx as a proxy, over TCP', { skip }, async (t) => {
  const server = await startServer(t);
  await proxyWorks(t, await startNginx(t, `${server.host}:${server.port}`));
  await fewConnectionsWereMade(t, server);
});

t.test('nginx as a proxy, over a Unix socket', { skip }, async (t) => {
  const uds = join(socketDirectory(t), 'moonring');
  const server = await startServer(t, { args: ['--port', 'off', '--uds', uds] });
  await proxyWorks(t, await startNginx(t, `unix:${uds}`));
  await fewConnectionsWereMade(t, server);
});
