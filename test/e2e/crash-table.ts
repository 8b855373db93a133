import { join } from 'node:path';
import type { Test } from 'tap';
import { statusOf } from './admin-client.js';
import { changingConfig } from './changing-config.js';
import { startCheckedClients } from './checked-clients.js';
import { memoryGroup } from './memory-group.js';
import { isRunning } from './process-table.js';
import { connectRaw, type RawClient, requestText } from './raw-client.js';
import { type Server, startServer } from './server.js';
import type { LogLine } from './server-output.js';
import { socketDirectory } from './socket-directory.js';
import { until } from './until.js';

/* Crashes reactors under load, in every way, and measures what that costs their clients. */

export type Way =
  | 'SIGSEGV'
  | 'kill -9'
  | 'OOM kill'
  | 'loop in C'
  | 'loop in Lua'
  | 'kill -9 during a reload';

export interface Setting {
  readonly name: string;
  readonly processes: number;
  readonly args: readonly string[];
  readonly unix?: boolean;
}

/** How much of it. */
export interface Extent {
  /** Crashes of each kind per server. */
  readonly ends: number;
  readonly clients: number;
  readonly idle: number;
}

export interface Row {
  readonly ends: number;
  /** Responses compared byte by byte. */
  readonly answered: number;
  readonly unanswered: number;
  /** Connections closed between two requests. */
  readonly closedIdle: number;
  /** From clients other than those that caused the crash. */
  readonly refused: number;
  readonly slowestMs: number;
  readonly wrong: readonly string[];
  /** Requests that crashed a process, and got 503. */
  readonly culprits: number;
  readonly culpritsRefused: number;
  readonly signals: readonly unknown[];
  /** A kind of crash that is not possible here, and why. */
  readonly skipped: readonly string[];
}

const PATHS: Partial<Record<Way, string>> = {
  SIGSEGV: '/crash',
  'OOM kill': '/eat',
  'loop in C': '/loop-in-c',
  'loop in Lua': '/loop',
};
/**
 * A loop is interrupted after twice this time; long enough for other requests on a busy machine.
 */
const LOOP_TIMEOUT = ['--handler-timeout', '1s'];
/** More than a server is allowed, and quickly allocated. */
const MEMORY_BYTES = 512 * 1024 * 1024;
const GET = 'GET /fill/5/x HTTP/1.1\r\nHost: a\r\n\r\n';

/** One server under load, whose reactors crash in each way. */
export async function crash(
  t: Test,
  { processes, args, unix }: Setting,
  ways: readonly Way[],
  extent: Extent,
): Promise<Row> {
  const path = join(socketDirectory(t), 's.sock');
  const config = changingConfig(t.testdir());
  const timeout = ways.some((way) => way.startsWith('loop')) ? LOOP_TIMEOUT : [];
  const skipped: string[] = [];
  const group = ways.includes('OOM kill') ? memoryGroup(t, MEMORY_BYTES) : null;
  if (ways.includes('OOM kill') && group === null) {
    skipped.push('OOM kill: no memory cgroup can be made here');
  }
  const server = await startServer(t, {
    app: 'crashing.lua',
    processes,
    args: [...config.args, ...timeout, ...(unix ? ['--uds', path] : []), ...args],
    // Before its reactors are started, which inherit the group of their parent.
    onStarting: async ({ pid = 0 }) => group?.add(pid),
  });
  const address = unix ? { path } : { host: server.host, port: server.port };
  const idle = await Promise.all(Array.from({ length: extent.idle }, () => connectRaw(t, address)));
  for (const client of idle) t.equal(await askSomething(client), 200, 'before any end');
  const { counts, stop } = await startCheckedClients(t, address, extent.clients);
  let [ends, culprits, culpritsRefused] = [0, 0, 0];
  for (const way of ways) {
    if (way === 'OOM kill' && group === null) continue;
    for (let i = 0; i < extent.ends; i++) {
      const served = counts.answered;
      await until('requests are served', () => counts.answered > served + 30);
      ends++;
      const request = PATHS[way];
      if (way === 'kill -9 during a reload') await killDuringReload(server, config, i);
      else if (request === undefined) await killOne(server, i);
      else {
        culprits++;
        const before = crashesOf(server).length;
        const client = await connectRaw(t, address);
        const { status } = await client.request(requestText(request));
        client.socket.destroy();
        if (status === 503) culpritsRefused++;
        // The loop may have been interrupted without the process exiting.
        if (!way.startsWith('loop')) {
          await until('its end', () => crashesOf(server).length > before);
        }
      }
      await until('all serve', () => allServe(server));
    }
  }
  await stop();
  let closedIdle = counts.closedIdle;
  for (const client of idle) {
    const outcome = await askSomething(client).catch(String);
    if (outcome !== 200) {
      closedIdle++;
      t.comment('an idle connection:', outcome);
    }
    client.socket.destroy();
  }
  const { answered, unanswered, refused, slowestMs, wrong } = counts;
  const signals = server.logs.flatMap((line) => (line['signal'] ? [line['signal']] : []));
  t.strictSame(await server.stop(), { code: 0, signal: null });
  return {
    ...{ ends, answered, unanswered, closedIdle, refused, slowestMs, wrong },
    ...{ culprits, culpritsRefused, signals, skipped },
  };
}

/** The status of the response. */
export async function askSomething(client: RawClient): Promise<number> {
  return (await client.request(GET)).status;
}

/** The records of crashes so far. */
export function crashesOf({ logs }: Server): LogLine[] {
  return logs.filter(({ msg }) => msg === 'reactor crashed');
}

async function killOne(server: Server, i: number): Promise<void> {
  const pids = server.reactorPids();
  const victim = pids[i % pids.length] ?? 0;
  const before = crashesOf(server).length;
  process.kill(victim, 'SIGKILL');
  await until('its end', () => crashesOf(server).length > before);
}

/** A process that is exiting or about to. */
async function killDuringReload(
  server: Server,
  config: { change(): void },
  i: number,
): Promise<void> {
  const before = server.reactorPids();
  const ended = ({ msg }: { msg: string }) => /^reload(ed| rejected)/.test(msg);
  const reloads = server.logs.filter(ended).length;
  config.change();
  server.signal('SIGHUP');
  await until('a successor', () => server.reactorPids().some((pid) => !before.includes(pid)));
  const victim = before[i % before.length] ?? 0;
  if (isRunning(victim)) process.kill(victim, 'SIGKILL');
  await until('the reload has ended', () => server.logs.filter(ended).length > reloads);
}

async function allServe(server: Server): Promise<boolean> {
  const { reactors } = await statusOf(server);
  return reactors.every(({ state, pid }) => state === 'ready' && pid !== null && isRunning(pid));
}
