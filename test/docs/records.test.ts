import { mkdirSync, mkdtempSync, readFileSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { connectRaw, type RawClient, requestText } from '../e2e/raw-client.js';
import { type Server, type ServerOptions, startServer } from '../e2e/server.js';
import type { LogLine } from '../e2e/server-output.js';
import {
  begin,
  type Driver,
  drive,
  driveServing,
  loadSuccessors,
} from '../unit/master/supervisor/driver.js';
import { ROOT } from './pages.js';

/*
 * The table of docs/errors.md below "Others": each record is provoked here, by a server, or by the
 * supervisor alone if that is enough.
 */

const directory = mkdtempSync(join(tmpdir(), 'moonring-records-'));
t.teardown(() => rmSync(directory, { recursive: true }));

/** Makes a server write the record; the test waits for it. */
type Provocation =
  | {
      /** A server that is started first. */
      readonly beside?: ServerOptions;
      readonly options: ServerOptions;
      readonly act?: (t: Test, server: Server) => unknown;
    }
  /** It needs a lack of descriptors, a race, a compiler or time: another test provokes it. */
  | { readonly provokedBy: string }
  | { readonly drive: () => Driver };

const app = join(directory, 'stderr.lua');
const config = join(directory, 'config.json');
writeFileSync(app, "function handle(_, res) io.stderr:write('hm\\n') res:body('x'):send() end\n");
writeFileSync(config, '{ "backlog": 10 }');
const stdoutApp = join(directory, 'stdout.lua');
writeFileSync(stdoutApp, "function handle(_, res) io.write('hm\\n') res:body('x'):send() end\n");

/** One file is larger than the limit of a snapshot. */
function largeApp(): string {
  const path = join(directory, 'large');
  mkdirSync(path);
  writeFileSync(join(path, 'handler.lua'), "function handle(_, res) res:body('x'):send() end\n");
  writeFileSync(join(path, 'large.lua'), '');
  truncateSync(join(path, 'large.lua'), 65 * 1024 * 1024);
  return path;
}

const PROVOCATIONS: Readonly<Record<string, Provocation>> = {
  'heartbeat lost: aborting the reactor': {
    options: { args: ['--liveness-grace', '3s'] },
    act: (_, server) => {
      for (const pid of server.reactorPids()) process.kill(pid, 'SIGSTOP');
    },
  },
  'reactor does not get ready: killing it': {
    drive: () => {
      const driver = drive(1);
      driver.boot();
      driver.timer(0);
      return driver;
    },
  },
  'accepting is paused: Too many open files': {
    options: { descriptors: 128 },
    act: async (t, server) => {
      for (let count = 0; count < 150; count += 1) await connectRaw(t, server);
    },
  },
  'the drain timeout has expired: 3 connections are closed': {
    options: { args: ['--drain-timeout', '0'] },
    act: async (t, server) => {
      for (let count = 0; count < 3; count += 1) await halfARequest(t, server);
      server.signal('SIGTERM');
      await server.exited;
    },
  },
  'reactor is in a crash loop: it is restarted later, the others keep running': {
    drive: () => {
      const driver = driveServing(2);
      driver.exit(1, { code: 1 });
      while (driver.tags()[0] !== 'failed') {
        driver.timer(0);
        driver.exit(driver.state().nextChild - 1, { code: 1 });
      }
      return driver;
    },
  },
  'already draining': {
    drive: () => {
      const driver = driveServing(1);
      driver.order({ type: 'drain' });
      driver.signal('SIGTERM');
      return driver;
    },
  },
  'stopping now': {
    options: {},
    act: async (t, server) => {
      await halfARequest(t, server);
      server.signal('SIGTERM');
      await server.logLine('the drain', ({ msg }) => msg === 'draining');
      // A second signal in the same turn of the master's event loop would be merged with the first.
      await fetch(`${server.admin}/status`);
      server.signal('SIGTERM');
    },
  },
  'changed options need a restart': {
    options: { args: ['--config', config] },
    act: (_, server) => {
      writeFileSync(config, '{ "backlog": 20, "allocator": "system" }');
      server.signal('SIGHUP');
    },
  },
  'reload incomplete: some reactors serve the old generation': {
    drive: () => {
      const driver = driveServing(1);
      loadSuccessors(driver, 2);
      driver.exit(2, { code: null, signal: 'SIGKILL' });
      return driver;
    },
  },
  'cannot pass the files of the app to a reactor': {
    provokedBy: 'test/unit/master/runtime/effects.test.ts',
  },
  '… holds more than 64 MiB of Lua files or 100000 entries': { options: { app: largeApp() } },
  '… cannot be loaded from memory': { provokedBy: 'test/e2e/c-handlers.test.ts' },
  'a thread keeps the old generation': {
    provokedBy: 'test/native/exec/test_generations.c',
  },
  'the reactor cannot load another handler beside its current one: replacing processes': {
    drive: () => {
      const driver = driveServing(1);
      driver.signal('SIGHUP');
      driver.preparedLua(22);
      driver.say(1, { type: 'unprepared', generation: 2, reason: 'why' });
      return driver;
    },
  },
  'a reload is in progress: another one will follow': {
    drive: () => {
      const driver = driveServing(1);
      driver.signal('SIGHUP');
      driver.signal('SIGHUP');
      return driver;
    },
  },
  'reactors use the system allocator': {
    options: { args: ['--allocator', 'system', '--log-level', 'debug'] },
  },
  'reactor wrote to standard error': {
    options: { app },
    act: async (t, server) => (await connectRaw(t, server)).request(requestText('/')),
  },
  'reactor wrote to standard output': {
    options: { app: stdoutApp },
    act: async (t, server) => (await connectRaw(t, server)).request(requestText('/')),
  },
  'the default admin address is in use: using the next free port': {
    beside: { defaultAdmin: true },
    options: { defaultAdmin: true },
  },
  'reactor lost its control pair: draining': {
    drive: () => {
      const driver = driveServing(1);
      driver.say(1, { type: 'orphaned' });
      return driver;
    },
  },
  'reactor is near its memory limit: replacing it': {
    drive: () => {
      const driver = driveServing(1);
      driver.memory(1);
      return driver;
    },
  },
  'reactor is near its memory limit again soon after it was replaced: the next replacement is delayed':
    {
      drive: () => {
        const driver = driveServing(1);
        driver.memory(1);
        begin(driver, 2);
        driver.memory(2);
        return driver;
      },
    },
  'the reactor near its memory limit cannot be replaced: it keeps running': {
    drive: () => {
      const driver = driveServing(1);
      driver.memory(1);
      driver.exit(2, { code: 1 });
      return driver;
    },
  },
  '… bytes are resident, which reaches --memory-limit: the process exits to be replaced': {
    provokedBy: 'test/unit/reactor/lifecycle.test.ts',
  },
  'a response of an earlier generation of the handler was aborted: …': {
    provokedBy: 'test/e2e/lua-reloads-swap-states.test.ts',
  },
  'the service manager could not be notified': {
    options: { env: { NOTIFY_SOCKET: join(directory, 'missing') } },
  },
};

/** A connection in the middle of a request that the server has begun to read. */
async function halfARequest(t: Test, server: Server): Promise<RawClient> {
  const client = await connectRaw(t, server);
  client.socket.on('error', () => {});
  const half = requestText('/echo', { method: 'POST', headers: { 'Content-Length': '10' } });
  // One write, so that the response to the first request means that the rest has arrived too.
  await client.send(`${requestText('/')}${half}half`);
  await client.next();
  return client;
}

function recordsOfThePage(): string[] {
  const page = readFileSync(join(ROOT, 'docs/errors.md'), 'utf8');
  const [, section = ''] = page.split('### Others\n');
  return [...(section.split('\n## ')[0] ?? '').matchAll(/^\| `([^`]+)` \|/gm)].map(
    ([, text = '']) => text,
  );
}

t.test('every record of the table has an entry here', async (t) => {
  t.strictSame(recordsOfThePage().toSorted(), Object.keys(PROVOCATIONS).toSorted());
});

for (const [text, provocation] of Object.entries(PROVOCATIONS)) {
  t.test(text, async (t) => {
    if ('provokedBy' in provocation) {
      const source = readFileSync(join(ROOT, provocation.provokedBy), 'utf8');
      t.ok(source.includes(text.replace(/ ?… ?/, '')), provocation.provokedBy);
      return;
    }
    if ('drive' in provocation) {
      const { effects } = provocation.drive();
      t.ok(effects.some((effect) => effect.type === 'log' && effect.message === text));
      return;
    }
    if (provocation.beside !== undefined) await startServer(t, provocation.beside);
    const server = await startServer(t, provocation.options);
    await provocation.act?.(t, server);
    const isIt = ({ msg }: LogLine) =>
      text.startsWith('…') ? msg.includes(text.slice(2)) : msg === text;
    t.ok(isIt(await server.logLine(text, isIt)));
  });
}
