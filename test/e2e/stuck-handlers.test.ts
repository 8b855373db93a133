import t from 'tap';
import { connectRaw, requestText } from './raw-client.js';
import { startServer } from './server.js';

const STUCK = /handler of GET (\/[a-z-]+) /;

t.test('on a worker: 503, the others are served, the log names it, TERM drains', async (t) => {
  const server = await startServer(t, {
    app: 'dispatch.lua',
    args: ['--dispatch', 'worker', '--threads', '1', '--handler-timeout', '1s'],
  });
  const victim = await connectRaw(t, server);
  await victim.send(requestText('/compiled-loop'));
  const response = await victim.next();
  t.equal(response.status, 503);
  await victim.ended();
  await server.logLine(
    'the handler',
    (line) => STUCK.exec(line.msg ?? '')?.[1] === '/compiled-loop',
  );
  const client = await connectRaw(t, server);
  t.equal((await client.request(requestText('/where'))).body.toString(), 'worker');
  t.strictSame(await server.stop(), { code: 0, signal: null });
});

t.test('a loop of the interpreter is stopped with a traceback', async (t) => {
  const server = await startServer(t, {
    app: 'dispatch.lua',
    args: ['--dispatch', 'worker', '--threads', '1', '--handler-timeout', '1s'],
  });
  const victim = await connectRaw(t, server);
  t.equal((await victim.request(requestText('/interpreted-loop'))).status, 503);
  const line = await server.logLine('a traceback', (line) =>
    /ran into its deadline/.test(line.msg ?? ''),
  );
  t.match(line.msg, /dispatch\.lua:\d+: in function/);
  await server.logLine('the worker', (line) => /has come back/.test(line.msg ?? ''));
  const client = await connectRaw(t, server);
  t.equal((await client.request(requestText('/quick'))).body.toString(), 'quick');
  t.strictSame(await server.stop(), { code: 0, signal: null });
});

t.test('inline: an interpreted loop is stopped and gets 500', async (t) => {
  const server = await startServer(t, {
    app: 'dispatch.lua',
    args: ['--dispatch', 'inline', '--handler-timeout', '1s'],
  });
  const reactors = server.reactorPids();
  const victim = await connectRaw(t, server);
  t.equal((await victim.request(requestText('/interpreted-loop'))).status, 500);
  t.equal((await victim.request(requestText('/quick'))).body.toString(), 'quick');
  t.strictSame(server.reactorPids(), reactors);
});

t.test('inline: a compiled loop is named and its reactor replaced', async (t) => {
  const server = await startServer(t, {
    app: 'dispatch.lua',
    args: ['--dispatch', 'inline', '--handler-timeout', '1s'],
  });
  const [before] = server.reactorPids();
  const victim = await connectRaw(t, server);
  victim.socket.on('error', () => {});
  await victim.send(requestText('/compiled-loop'));
  await server.logLine(
    'the handler',
    (line) => STUCK.exec(line.msg ?? '')?.[1] === '/compiled-loop',
  );
  const client = await connectRaw(t, server);
  t.equal((await client.request(requestText('/quick'))).body.toString(), 'quick');
  t.not(server.reactorPids()[0], before, 'another process answers');
});
