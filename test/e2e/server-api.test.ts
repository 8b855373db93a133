import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync, writeFileSync } from 'node:fs';
import { createServer as createNodeServer } from 'node:net';
import { join } from 'node:path';
import t from 'tap';
import { createServer, type ServerOptions } from '../../dist/index.js';
import { listenLocally } from './listening.js';
import { cleanEnvironment } from './server.js';
import { collectOutput } from './server-output.js';
import { until } from './until.js';

const GOOD = "function handle(_, res) res:body('x'):send() end";
const OPTIONS = { port: 0, processes: 2, admin: 'off', logLevel: 'off' } as const;

t.test('start, stats, reload, scale, drain', async (t) => {
  const server = createServer({ ...OPTIONS, app: 'test/e2e/apps/pid.lua', accept: 'boss' });
  t.throws(() => server.stats(), { code: 'ERR_MOONRING_USAGE' });
  const heard: string[] = [];
  for (const event of ['ready', 'reloaded', 'stopping', 'end'] as const) {
    server.on(event, () => heard.push(event));
  }
  const ready = await server.start();
  t.match(ready, { processes: 2, accept: 'boss', admin: [] });
  t.equal((await fetch(ready.address)).status, 200);
  t.match(server.stats(), { phase: 'serving', generation: 1, ready: true });
  t.strictSame(await server.reload(), { generation: 2, replaced: 'lua states' });
  server.scale(1);
  t.throws(() => server.scale(9999), { code: 'ERR_MOONRING_CONTROL' });
  t.equal((await fetch(ready.address)).status, 200);
  await server.drain();
  t.strictSame(heard, ['ready', 'reloaded', 'stopping', 'end']);
  await t.rejects(server.start(), { code: 'ERR_MOONRING_USAGE' }, 'once');
});

t.test('wrong options throw at the call', async (t) => {
  for (const wrong of [
    { prot: 1 },
    { maxBody: 'much' },
    { minReactors: 0 },
    { app: () => 'app.lua' },
    { logLevel: 'loud' },
  ]) {
    const options = { ...OPTIONS, ...wrong } as object;
    const error = { code: 'ERR_MOONRING_CONFIG', message: /^createServer: / };
    t.throws(() => createServer(options), error, JSON.stringify(wrong));
  }
});

t.test('a start that fails rejects', async (t) => {
  const wrong: [object, string][] = [
    [{ app: '/does/not/exist.lua' }, 'ERR_MOONRING_HANDLER'],
    [{ app: 'test/e2e/apps/syntax-error.lua' }, 'ERR_MOONRING_HANDLER'],
    [{ minReactors: 3 }, 'ERR_MOONRING_CONFIG'],
  ];
  for (const [options, code] of wrong) {
    const server = createServer({ ...OPTIONS, ...options });
    await t.rejects(server.start(), { name: 'MoonringError', code }, code);
    await server.close();
  }
  const other = createNodeServer();
  const port = await listenLocally(other);
  t.teardown(() => other.close());
  await t.rejects(createServer({ ...OPTIONS, port }).start(), { code: 'ERR_MOONRING_LISTEN' });
});

t.test('no timer and no listener is left after an end, good or bad', async (t) => {
  const timers = () => process.getActiveResourcesInfo().filter((name) => name === 'Timeout').length;
  const other = createNodeServer();
  const port = await listenLocally(other);
  t.teardown(() => other.close());
  const options = { ...OPTIONS, app: 'test/e2e/apps/pid.lua', processes: 1 };
  const before = { timers: timers(), listeners: process.listenerCount('exit') };
  const after = () => ({ timers: timers(), listeners: process.listenerCount('exit') });

  const refused = createServer({ ...options, admin: `127.0.0.1:${port}` });
  await t.rejects(refused.start(), { code: 'ERR_MOONRING_LISTEN' });
  t.strictSame(after(), before, 'the admin address is taken');
  await t.rejects(createServer({ ...options, port }).start(), { code: 'ERR_MOONRING_LISTEN' });
  t.strictSame(after(), before, 'the address is taken');
  const server = createServer(options);
  await server.start();
  await server.stop();
  t.equal(after().listeners, before.listeners, 'it was stopped');
});

t.test('an invalid number of reactors is rejected with a reason', async (t) => {
  const server = createServer({ ...OPTIONS, app: 'test/e2e/apps/pid.lua', processes: 1 });
  await server.start();
  for (const processes of [0, -1, 1.5, Number.NaN]) {
    const refusal = { code: 'ERR_MOONRING_CONTROL', message: /whole number of at least 1/ };
    t.throws(() => server.scale(processes), refusal, `${processes}`);
  }
  t.equal(server.stats().reactors.length, 1);
  await server.close();
});

t.test('a reload rejects with the error code of its failure', async (t) => {
  const app = join(t.testdir({ 'app.lua': GOOD }), 'app.lua');
  const options: { app: string; maxBody?: string } = { ...OPTIONS, app };
  const server = createServer(options);
  await server.start();
  writeFileSync(app, 'function handle(');
  await t.rejects(server.reload(), { code: 'ERR_MOONRING_HANDLER' });
  writeFileSync(app, GOOD);
  options.maxBody = 'much';
  await t.rejects(server.reload(), { code: 'ERR_MOONRING_CONFIG' });
  delete options.maxBody;
  t.strictSame(await server.reload(), { generation: 2, replaced: 'lua states' });
  const drained = server.drain();
  await t.rejects(server.reload(), { code: 'ERR_MOONRING_CONTROL' });
  await drained;
});

t.test('a reload applies the log level to the master, too', async (t) => {
  const app = 'test/e2e/apps/pid.lua';
  const directory = t.testdir();
  const logFile = join(directory, 'log');
  const options: ServerOptions & { logLevel: 'info' | 'error' } = {
    ...OPTIONS,
    app,
    logFile,
    logLevel: 'error',
  };
  const server = createServer(options);
  await server.start();
  options.logLevel = 'info';
  await server.reload();
  await server.close();
  const messages = readFileSync(logFile, 'utf8')
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line).msg);
  t.strictSame(messages, ['draining', 'stopped']);
});

t.test('drain and close may be called twice, and at any time', async (t) => {
  const server = createServer({ ...OPTIONS, app: 'test/e2e/apps/dispatch.lua', processes: 1 });
  const { address } = await server.start();
  const answer = fetch(`${address}/wait-long`);
  await until('the request is being served', () =>
    server.stats().reactors.some(({ serving }) => serving.length > 0),
  );
  await Promise.all([server.drain(), server.drain(), server.close()]);
  t.equal((await answer).status, 200, 'the second order cut nothing');
  await server.close();
  await t.rejects(server.drain(), { code: 'ERR_MOONRING_USAGE' });

  const unused = createServer(OPTIONS);
  await unused.close();
  await t.rejects(unused.start(), { code: 'ERR_MOONRING_USAGE' });

  const early = createServer({ ...OPTIONS, app: 'test/e2e/apps/pid.lua' });
  const start = early.start();
  start.catch(() => {});
  await early.close();
  await t.rejects(start, { code: 'ERR_MOONRING_USAGE' });

  const disposable = createServer({ ...OPTIONS, app: 'test/e2e/apps/pid.lua' });
  await disposable.start();
  await disposable[Symbol.asyncDispose]();
  t.throws(() => disposable.stats(), { code: 'ERR_MOONRING_USAGE' });
});

t.test('an injected logger gets the records of master and reactors', async (t) => {
  const records: [string, object, string][] = [];
  const level = (name: string) => (fields: object, message: string) => {
    records.push([name, fields, message]);
  };
  const logger = {
    debug: level('debug'),
    info: level('info'),
    warn: level('warn'),
    error: level('error'),
    fatal: level('fatal'),
  };
  const app = join(t.testdir({ 'app.lua': "function handle() error('oh') end" }), 'app.lua');
  const server = createServer({ ...OPTIONS, app, logLevel: 'info', logger });
  const { address } = await server.start();
  t.equal((await fetch(address)).status, 500);
  await until('the record of the reactor', () => records.some(([name]) => name === 'error'));
  await server.stop();
  t.match(
    records.find(([name]) => name === 'error'),
    ['error', { reactor: Number }, /oh/],
  );
  t.match(records.at(-1), ['info', {}, 'stopped']);
  t.notOk(records.some(([name]) => name === 'fatal'));
});

t.test('listeners that throw or call methods do not disturb the server', async (t) => {
  const script = `
    import { createServer } from '${new URL('../../dist/index.js', import.meta.url)}';
    const thrown = [];
    process.on('uncaughtException', (error) => thrown.push(error.message));
    const server = createServer(${JSON.stringify({ ...OPTIONS, app: 'test/e2e/apps/pid.lua' })});
    let stops = 0;
    server.on('stopping', () => { stops++; server.stop(); });
    for (const event of ['ready', 'reloaded', 'exit', 'stopping', 'end']) {
      server.on(event, () => { throw new Error(event); });
    }
    await server.start();
    await server.reload();
    const pid = server.stats().reactors[0].pid;
    process.kill(pid, 'SIGKILL');
    while (server.stats().reactors.some((each) => each.state !== 'ready' || each.pid === pid)) {
      await new Promise(setImmediate);
    }
    await server.stop();
    console.log(JSON.stringify({ stops, thrown: [...new Set(thrown)] }));
    process.exit(0);
  `;
  const { stdout, status } = spawnSync(process.execPath, ['--input-type=module', '-e', script], {
    encoding: 'utf8',
    env: cleanEnvironment(),
  });
  t.equal(status, 0);
  const { stops, thrown } = JSON.parse(stdout);
  t.strictSame(thrown.sort(), ['end', 'exit', 'ready', 'reloaded', 'stopping']);
  t.equal(stops, 1, 'a stop in the listener for it does not repeat it');
});

t.test('a cluster worker cannot be a server', async (t) => {
  const env = { ...cleanEnvironment(), NODE_UNIQUE_ID: '1' };
  const index = new URL('../../dist/index.js', import.meta.url);
  const script = `
    import { createServer } from '${index}';
    try { createServer(); } catch (error) { console.log(error.code); }
    process.exit(0);
  `;
  const stdio = ['ignore', 'pipe', 'pipe', 'ipc'] as const;
  for (const [args, pattern] of [
    [['--input-type=module', '-e', script], /^ERR_MOONRING_CONFIG\n$/],
    [['dist/master.js', '--port', '0', '--admin', 'off'], /cluster worker .*fork mode|cluster/],
  ] as const) {
    const child = spawn(process.execPath, [...args], { env, stdio: [...stdio] });
    const output = collectOutput(child);
    const [code] = await once(child, 'close');
    t.match(output.stdout() + output.stderr(), pattern);
    t.equal(code, args[0] === 'dist/master.js' ? 78 : 0);
  }
});

t.test('stop exits at once', async (t) => {
  const server = createServer({ ...OPTIONS, app: 'test/e2e/apps/pid.lua' });
  await server.start();
  await server.stop();
  t.throws(() => server.stats(), { code: 'ERR_MOONRING_USAGE' });
});
