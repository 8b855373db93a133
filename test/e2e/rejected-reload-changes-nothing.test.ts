import { symlinkSync, unlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { metricsOf } from './admin-client.js';
import { connectRaw, requestText } from './raw-client.js';
import { startServer } from './server.js';
import { until } from './until.js';

const answering = (text: string) => `function handle(_, res) res:body("${text}"):send() end\n`;

const BAD: readonly [name: string, code: string, reason: RegExp][] = [
  ['a syntax error', 'function handle(', /app\.lua:/],
  ['an error at load', 'error("no")', /app\.lua:1: no/],
  ['no handle', 'x = 1', /handle/],
  ['os.exit', 'os.exit(0)', /os\.exit would end the whole process/],
  [
    'exit of C',
    'local ffi = require "ffi" ffi.cdef "void _exit(int)" ffi.C._exit(0)',
    /terminated the process that loaded it \(exit code 0\)/,
  ],
  ['an endless loop', 'while true do end', /did not finish loading within 15 s/],
];

t.test('a handler that does not load is rejected, and the old one keeps serving', async (t) => {
  const app = join(t.testdir({ 'app.lua': answering('first') }), 'app.lua');
  const server = await startServer(t, { app, processes: 2 });
  const before = server.reactorPids();
  const client = await connectRaw(t, server);
  const ask = async () => (await client.request(requestText('/'))).body.toString();
  t.equal(await ask(), 'first');

  const rejections = () => server.logs.filter(({ msg }) => msg.startsWith('reload rejected'));
  for (const [i, [name, code, reason]] of BAD.entries()) {
    writeFileSync(app, code);
    server.signal('SIGHUP');
    const line = await server.logLine(name, (each) => rejections().indexOf(each) === i);
    t.match(line['reason'], reason);
    t.equal(line['generation'], 1, name);
    t.equal(await ask(), 'first');
  }
  t.strictSame(server.reactorPids().sort(), before.sort(), 'no reactor was touched');
  const metrics = await metricsOf(server);
  t.equal(metrics.get('moonring_handler_reloads_total{result="rejected"}'), BAD.length);

  writeFileSync(app, answering('second'));
  server.signal('SIGHUP');
  await server.logLine('the reload', (line) => line.msg === 'reloaded');
  await until('the same connection has moved', async () => (await ask()) === 'second');
  t.strictSame(await server.stop(), { code: 0, signal: null });
});

t.test('an app that has become a symbolic link to itself is rejected too', async (t) => {
  const app = join(t.testdir({ 'app.lua': answering('first') }), 'app.lua');
  const server = await startServer(t, { app });
  unlinkSync(app);
  symlinkSync('app.lua', app);
  server.signal('SIGHUP');
  const line = await server.logLine('the reload', (each) => each.msg.startsWith('reload rejected'));
  t.match(line['reason'], 'neither a file nor a directory');
  t.equal(await (await fetch(server.url)).text(), 'first');
  t.strictSame(await server.stop(), { code: 0, signal: null });
});

t.test('--watch reloads without a signal', async (t) => {
  const app = join(t.testdir({ 'app.lua': answering('first') }), 'app.lua');
  const server = await startServer(t, { app, args: ['--watch'] });
  const client = await connectRaw(t, server);
  t.equal((await client.request(requestText('/'))).body.toString(), 'first');
  writeFileSync(app, answering('second'));
  await server.logLine('the reload', (line) => line.msg === 'reloaded');
  await until('the new code answers', async () => {
    const answer = await client.request(requestText('/'));
    return answer.body.toString() === 'second';
  });
});
