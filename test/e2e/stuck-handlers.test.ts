import t from 'tap';
import { loadNative } from '../../src/shared/native.js';
import { packageRoot } from '../../src/shared/package-info.js';
import { connectRaw, requestText } from './raw-client.js';
import { startServer } from './server.js';

const STUCK = /handler of GET (\/[a-z-]+) /;
const INTERRUPTED = /dispatch\.lua:\d+: the handler ran into its deadline and was interrupted/;

/** Of the LuaJIT used by the reactors. */
const interruptsCompiled = loadNative(
  packageRoot,
  process.env['MOONRING_ADDON'],
).interruptsCompiled();

t.test('on a worker: 503, the others are served, the log says where, TERM drains', async (t) => {
  const server = await startServer(t, {
    app: 'dispatch.lua',
    args: ['--dispatch', 'worker', '--threads', '1', '--handler-timeout', '1s'],
  });
  const refused = async (path: string) => {
    const victim = await connectRaw(t, server);
    t.equal((await victim.request(requestText(path))).status, 503, path);
  };
  const client = await connectRaw(t, server);
  const serves = async () =>
    t.equal((await client.request(requestText('/where'))).body.toString(), 'worker');

  await refused('/interpreted-loop');
  const line = await server.logLine('a traceback', (line) => INTERRUPTED.test(line.msg ?? ''));
  t.match(line.msg, /GET \/interpreted-loop/);
  t.match(line.msg, /dispatch\.lua:\d+: in function/);
  await serves();

  const worker = server.logLine('the worker again', (line) =>
    /^worker \d+ returned after/.test(line.msg ?? ''),
  );
  await refused('/stubborn-loop');
  await server.logLine('it ends', (line) =>
    /GET \/stubborn-loop.*interrupted/.test(line.msg ?? ''),
  );
  await worker;
  await serves();

  await refused('/sleep');
  await server.logLine('where it waited', (line) =>
    /GET \/sleep.*deadline: it waited at .*dispatch\.lua:\d+, in sleep/.test(line.msg ?? ''),
  );

  await refused('/compiled-loop');
  await server.logLine(
    'the handler',
    (line) => STUCK.exec(line.msg ?? '')?.[1] === '/compiled-loop',
  );
  await serves();
  t.strictSame(await server.stop(), { code: 0, signal: null });
});

t.test('on a worker, after the head was sent: the stream is broken off', async (t) => {
  const server = await startServer(t, {
    app: 'dispatch.lua',
    args: ['--dispatch', 'worker', '--threads', '2', '--handler-timeout', '1s'],
  });
  const content = async (path: string) => await (await fetch(new URL(path, server.url))).text();
  const waited = content('/stream-wait');
  await t.rejects(content('/stream-loop'), { message: 'terminated' });
  await server.logLine('what happens', (line) =>
    /GET \/stream-loop has neither written nor waited for \d+ ms/.test(line.msg ?? ''),
  );
  await server.logLine('where it was', (line) =>
    new RegExp(`GET /stream-loop: .*${INTERRUPTED.source}`).test(line.msg ?? ''),
  );
  t.equal(await waited, 'begun, ended');
  const client = await connectRaw(t, server);
  t.equal((await client.request(requestText('/where'))).body.toString(), 'worker');
});

t.test('a reactor whose workers are all stuck is replaced', async (t) => {
  const server = await startServer(t, {
    app: 'dispatch.lua',
    args: ['--dispatch', 'worker', '--threads', '1', '--handler-timeout', '1s'],
  });
  const idle = await connectRaw(t, server);
  t.equal((await idle.request(requestText('/where'))).body.toString(), 'worker');
  const reactors = server.reactorPids();
  for (let i = 0; i < 2; i++) {
    const victim = await connectRaw(t, server);
    t.equal((await victim.request(requestText('/pattern'))).status, 503);
  }
  await server.logLine('what happens', (line) => /2 of 2 workers are stuck/.test(line.msg ?? ''));
  await server.logLine('its end', (line) => line.msg === 'reactor crashed');
  t.equal((await idle.request(requestText('/where'))).body.toString(), 'worker');
  t.not(server.reactorPids()[0], reactors[0]);
  t.strictSame(await server.stop(), { code: 0, signal: null });
});

t.test('also if calls of moonring.worker keep them', async (t) => {
  const server = await startServer(t, {
    app: 'dispatch.lua',
    args: ['--dispatch', 'inline', '--threads', '1', '--handler-timeout', '1s'],
  });
  for (let i = 0; i < 2; i++) {
    const victim = await connectRaw(t, server);
    t.equal((await victim.request(requestText('/call'))).status, 503);
  }
  await server.logLine('its end', (line) => line.msg === 'reactor crashed');
  const client = await connectRaw(t, server);
  t.equal((await client.request(requestText('/where-called'))).body.toString(), 'worker');
});

t.test('on the event loop: 503, the others are served, the process stays', async (t) => {
  const server = await startServer(t, {
    app: 'dispatch.lua',
    args: ['--dispatch', 'inline', '--threads', '0', '--handler-timeout', '1s'],
  });
  const reactors = server.reactorPids();
  const idle = await connectRaw(t, server);
  await idle.request(requestText('/quick'));
  const loops = ['/interpreted-loop', '/stubborn-loop', '/caught-loop', '/coroutine-loop'];
  for (const path of [...loops, '/loop-after-wait']) {
    const victim = await connectRaw(t, server);
    t.equal((await victim.request(requestText(path))).status, 503, path);
    await server.logLine('where it was', (line) =>
      new RegExp(`GET ${path}: .*${INTERRUPTED.source}`).test(line.msg ?? ''),
    );
    t.equal((await idle.request(requestText('/quick'))).body.toString(), 'quick');
  }
  t.equal((await idle.request(requestText('/task-loop'))).body.toString(), 'spawned');
  t.equal((await idle.request(requestText('/quick'))).body.toString(), 'quick');
  await server.logLine('the task', (line) =>
    /background task: .*was interrupted/.test(line.msg ?? ''),
  );
  t.strictSame(server.reactorPids(), reactors);
});

t.test('on the event loop: a compiled loop', async (t) => {
  const server = await startServer(t, {
    app: 'dispatch.lua',
    args: ['--dispatch', 'inline', '--handler-timeout', '1s'],
  });
  const [before] = server.reactorPids();
  const idle = await connectRaw(t, server);
  await idle.request(requestText('/quick'));
  const victim = await connectRaw(t, server);
  t.equal((await victim.request(requestText('/compiled-loop'))).status, 503);
  await server.logLine(
    'the handler',
    (line) => STUCK.exec(line.msg ?? '')?.[1] === '/compiled-loop',
  );
  t.equal((await idle.request(requestText('/quick'))).body.toString(), 'quick');
  const [after] = server.reactorPids();
  if (interruptsCompiled) t.equal(after, before, 'it is interrupted');
  else t.not(after, before, 'its process is replaced, and its connections live on');
});
