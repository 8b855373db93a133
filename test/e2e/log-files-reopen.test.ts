import { execFileSync } from 'node:child_process';
import { createReadStream, existsSync, readFileSync, renameSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { codeOf } from './admin-client.js';
import { connectRaw, requestText } from './raw-client.js';
import { runMaster, startServer } from './server.js';
import { until } from './until.js';

const linesOf = (path: string) =>
  existsSync(path) ? readFileSync(path, 'utf8').trimEnd().split('\n') : [];

t.test('USR1 reopens log and access log', async (t) => {
  const dir = t.testdir();
  const log = join(dir, 'server.log');
  const access = join(dir, 'access.log');
  const server = await startServer(t, {
    processes: 2,
    args: ['--log-file', log, '--access-log', 'json', '--access-log-file', access],
  });
  // One connection, whose reactor writes all the lines.
  const client = await connectRaw(t, server);
  await client.request(requestText('/first'));
  await until('a line', () => linesOf(access).some((line) => line.includes('/first')));
  for (const line of linesOf(access)) t.type(JSON.parse(line), Object);
  renameSync(log, `${log}.1`);
  renameSync(access, `${access}.1`);
  server.signal('SIGUSR1');
  await until('new files', () => linesOf(log).some((line) => line.includes('reopened')));
  await until('the access log too', () => existsSync(access));
  // The file may have been created by the other reactor: this one reopens it when told.
  await until('a line', async () => {
    await client.request(requestText('/second'));
    return linesOf(access).some((line) => line.includes('/second'));
  });
  await client.request(requestText('/third'));
  await until('a line', () => linesOf(access).some((line) => line.includes('/third')));
  t.notOk(linesOf(`${access}.1`).some((line) => line.includes('/third')));
  t.strictSame(await server.stop(), { code: 0, signal: null });
  t.ok(linesOf(log).some((line) => line.includes('"stopped"')));
});

t.test('output of a reactor becomes a record of the master', async (t) => {
  const server = await startServer(t, { app: 'mistakes.lua' });
  await fetch(`${server.url}/raise`);
  const line = await server.logLine('the error', (each) => each.level === 50);
  t.equal(line['reactor'], 0);
  t.notMatch(line, { pid: server.pid }, 'with the pid of the reactor');
});

t.test('an access log that no reactor could open is a configuration error', async (t) => {
  const path = join(t.testdir(), 'none', 'access.log');
  const log = ['--access-log', 'json', '--access-log-file', path];
  t.match(await runMaster(['--port', '0', '--admin', 'off', ...log]), {
    code: 78,
    stderr: /^moonring: the access log cannot be written: .*ENOENT/,
  });
});

t.test('a directory is not an access log, not even for root', async (t) => {
  const log = ['--access-log', 'json', '--access-log-file', t.testdir()];
  t.match(await runMaster(['--port', '0', '--admin', 'off', ...log]), {
    code: 78,
    stderr: /^moonring: the access log cannot be written: .*EISDIR/,
  });
});

t.test('a FIFO without a reader blocks neither start, reopening nor exit', async (t) => {
  const log = join(t.testdir(), 'log.fifo');
  execFileSync('mkfifo', [log]);
  const server = await startServer(t, { args: ['--log-file', log] });
  server.signal('SIGUSR1');
  t.equal((await fetch(server.url)).status, 200);
  t.equal(await codeOf(server, '/livez'), 200);
  const reader = createReadStream(log, 'utf8');
  t.teardown(() => reader.destroy());
  let text = '';
  reader.on('data', (chunk) => {
    text += chunk;
  });
  server.signal('SIGUSR1');
  await until('a reader gets the lines', () => text.includes('"msg":'));
  t.strictSame(await server.stop(), { code: 0, signal: null });
});
