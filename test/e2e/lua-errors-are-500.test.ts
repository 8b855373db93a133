import { readFileSync } from 'node:fs';
import t from 'tap';
import { connectRaw, requestText } from './raw-client.js';
import { type Server, startServer } from './server.js';
import type { LogLine } from './server-output.js';

const ERROR_LEVEL = 50;
const APP = 'mistakes.lua';
const source = readFileSync(new URL(`apps/${APP}`, import.meta.url), 'utf8').split('\n');

/** "mistakes.lua:<number of the line that has this comment>" */
function placeOf(comment: string): string {
  return `${APP}:${source.findIndex((line) => line.endsWith(`-- ${comment}`)) + 1}`;
}

function errorLines(server: Server): readonly LogLine[] {
  return server.logs.filter((line) => line.level >= ERROR_LEVEL);
}

/** Waits for an error line that has `text` in it, and returns all of it as text. */
async function errorLine(server: Server, text: string): Promise<string> {
  const line = await server.logLine(
    text,
    (line) => line.level >= ERROR_LEVEL && JSON.stringify(line).includes(text),
  );
  return JSON.stringify(line);
}

// Inline: a handler that had to wait for the CPU would count as slow and move to a worker, whose Lua
// state has not kept the request.
const server = await startServer(t, { app: APP, args: ['--dispatch', 'inline'] });
const reactors = server.reactorPids();
const client = await connectRaw(t, server);
const get = (path: string) => client.request(requestText(path));

t.test('an error gets 500 and is logged once with traceback and position', async (t) => {
  const before = errorLines(server).length;
  const response = await get('/raise');
  t.equal(response.status, 500);
  t.notMatch(response.body.toString(), /purpose|mistakes/, 'nothing of it is told to the client');
  const line = await errorLine(server, 'raised on purpose');
  t.match(line, placeOf('here it is raised'));
  t.match(line, /stack traceback/);
  t.equal((await get('/')).body.toString(), 'fine', 'the connection goes on');
  // A later line comes after every line of the first error.
  await get('/late-unprotected');
  await errorLine(server, placeOf('here it is too late'));
  t.equal(errorLines(server).length, before + 2, 'one line each');
});

t.test('an error that is not a string gets 500 and is logged with its fields', async (t) => {
  t.equal((await get('/raise-table?x=1')).status, 500);
  const line = await errorLine(server, 'reason = not a string');
  t.match(JSON.parse(line), {
    reqId: /^\w+-\d+$/,
    req: { method: 'GET', url: '/raise-table?x=1' },
    msg: /^lua error in GET \/raise-table\?x=1: \{ reason = not a string \}/,
  });
  t.equal((await get('/')).status, 200);
});

t.test('an error after send does not change the response', async (t) => {
  const response = await get('/raise-after-send');
  t.equal(response.status, 200);
  t.equal(response.body.toString(), 'sent');
  t.match(await errorLine(server, 'raised after send'), /stack traceback/);
  t.equal((await get('/')).body.toString(), 'fine', 'nothing more was sent');
});

t.test('sending twice sends the first and logs the second with its position', async (t) => {
  const response = await get('/send-twice');
  t.equal(response.status, 200);
  t.equal(response.body.toString(), 'first');
  await errorLine(server, placeOf('here it is sent again'));
  t.equal((await get('/')).body.toString(), 'fine', 'nothing more was sent');
});

t.test('a handler that never sends gets 500', async (t) => {
  t.equal((await get('/never')).status, 500, 'with nothing built');
  const built = await get('/never-but-built');
  t.equal(built.status, 201, 'with what was built');
  t.equal(built.body.toString(), 'built');
  t.equal((await get('/')).body.toString(), 'fine');
});

t.test('a request kept for later raises at every use', async (t) => {
  t.equal((await get('/keep')).body.toString(), 'kept');
  const lines = (await get('/late')).body.toString().trimEnd().split('\n');
  t.equal(lines.length, 8);
  for (const line of lines) t.match(line, /^[a-z ]+: error: /);
  t.equal((await get('/late-unprotected')).status, 500);
  t.match(await errorLine(server, placeOf('here it is too late')), /stack traceback/);
});

t.test('a header that would split the response is refused', async (t) => {
  const response = await get('/bad-header');
  t.equal(response.status, 500);
  t.notMatch(response.head, /injected/i);
  t.notOk(response.headers.has('x-bad'));
  const many = await get('/bad-headers');
  t.equal(many.status, 200);
  t.equal(many.headers.get('x-good'), 'yes');
  t.notMatch(many.head, /x-bad|injected/i);
  const lines = many.body.toString().trimEnd().split('\n');
  t.equal(lines.length, 10);
  for (const line of lines) t.match(line, /^\d+: error: /);
});

t.test('a status or a body of the wrong kind is refused', async (t) => {
  t.equal((await get('/bad-status')).status, 500);
  t.equal((await get('/bad-body')).status, 500);
  t.equal((await get('/')).body.toString(), 'fine');
});

t.test('the same reactor still serves', async (t) => {
  t.strictSame(server.reactorPids(), reactors);
  t.strictSame(await server.stop(), { code: 0, signal: null });
});
