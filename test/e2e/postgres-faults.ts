import { setTimeout as delay } from 'node:timers/promises';
import type { Test } from 'tap';
import {
  type Bouncer,
  bouncerProgram,
  type Postgres,
  startBouncer,
  startPostgres,
} from './postgres-server.js';
import { childrenOf, isRunning } from './process-table.js';
import { descriptorsOf } from './process-usage.js';
import { startRelay } from './relay.js';
import { type Server, startServer } from './server.js';
import { until } from './until.js';

/*
 * Faults of a database under load: every request selects a distinct value, so that a response
 * that belongs to another request is detected by its content.
 */

const CLIENTS = 8;
/** Pause between two requests of a client: the load should be mixed, not high. */
const PAUSE_MS = 4;
/** Longer than the deadline of a query. */
const STOPPED_MS = 2200;
/** Errors that a handler may get from a database that is down, slow or stopped. */
const NAMES = new Set([
  ...[
    'timeout',
    'closed',
    'refused',
    'pool timeout',
    'pool queue full',
    'Connection reset by peer',
  ],
  ...['cannot_connect_now', 'admin_shutdown', 'crash_shutdown', 'too_many_connections'],
  // What pgbouncer says about a server that it has lost, or cannot reach.
  ...['protocol_violation', '58000', '08006', 'query_canceled', 'in_failed_sql_transaction'],
  'invalid_authorization_specification',
]);

interface Load {
  /** Time until this many requests that begin from now on have succeeded in a row: ms. */
  readonly recovers: () => Promise<number>;
  readonly failures: () => ReadonlyMap<string, number>;
  readonly succeeded: () => number;
  readonly wrong: readonly string[];
  readonly stop: () => Promise<void>;
}

function startLoad(t: Test, server: Server, target: (n: number) => string): Load {
  const failures = new Map<string, number>();
  const wrong: string[] = [];
  let next = 1_000_000; // larger than the error codes
  let succeeded = 0;
  let isOver = false;
  const ask = async (targetOf: (n: number) => string) => {
    const n = next++;
    const response = await fetch(`${server.url}/${targetOf(n)}`);
    const text = await response.text();
    const [first, second] = response.status === 200 ? JSON.parse(text) : [`status ${text}`];
    if (first === String(n)) succeeded += 1;
    else failures.set(first, (failures.get(first) ?? 0) + 1);
    if (first === 'WRONG' || (/^\d{7}$/.test(first) && first !== String(n))) {
      wrong.push(`${n}: ${first} ${second}`);
    }
    return first === String(n);
  };
  const client = async () => {
    while (!isOver) {
      await ask(target);
      await delay(PAUSE_MS);
    }
  };
  const clients = Promise.all(Array.from({ length: CLIENTS }, client));
  clients.catch(() => undefined); // `stop` reports it
  const stop = async () => {
    isOver = true;
    await clients;
  };
  // Before the server is stopped; a failed test has not called it.
  t.teardown(() => stop().catch(() => undefined));
  return {
    recovers: async () => {
      const begin = performance.now();
      const before = new Map(failures);
      await until('requests succeed again', async () => {
        for (let i = 0; i < 3; i += 1) if (!(await ask((n) => `echo?${n}`))) return false;
        return true;
      }).catch(async (cause: unknown) => {
        const since = [...failures].map(([name, count]) => [name, count - (before.get(name) ?? 0)]);
        const stats = await (await fetch(`${server.url}/stats`)).text();
        throw new Error(`${stats}, failures: ${JSON.stringify(since)}`, { cause });
      });
      return performance.now() - begin;
    },
    failures: () => failures,
    succeeded: () => succeeded,
    wrong,
    stop,
  };
}

async function signalAll(postgres: Postgres, signal: NodeJS.Signals) {
  const pids = [postgres.pid(), ...childrenOf(postgres.pid())];
  for (const pid of pids) {
    try {
      process.kill(pid, signal);
    } catch {
      // It has exited in the meantime.
    }
  }
}

/** Killed without a chance to clean up; its processes exit by themselves. */
async function killAndStart(postgres: Postgres) {
  const children = childrenOf(postgres.pid());
  postgres.kill('SIGKILL');
  await postgres.exited();
  await until('its processes have ended', () => !children.some(isRunning));
  await postgres.start();
}

async function killBouncer(bouncer: Bouncer) {
  const restarted = bouncer.restarted();
  bouncer.kill('SIGKILL');
  await restarted;
}

// A login takes a dozen turns of this process, through the relay: over a second on a busy machine.
const QUERY = 'timeout=2&connect_timeout=10&pool_size=6&pool_timeout=2&sslmode=disable';

/**
 * Runs all faults `rounds` times; `recovered(what, ms, usualMs)` gets how long each recovery took,
 * and how long the same requests took while nothing was wrong.
 */
export async function survive(
  t: Test,
  rounds: number,
  recovered: (what: string, ms: number, usualMs: number) => void,
) {
  const postgres = await startPostgres(t);
  const relay = await startRelay(t, `${postgres.directory}/.s.PGSQL.${postgres.port}`);
  const bouncer = bouncerProgram ? await startBouncer(t, postgres) : undefined;
  const direct = postgres
    .url({ tcp: true, query: QUERY })
    .replace(`:${postgres.port}/`, `:${relay.port}/`);
  const start = (url: string, dispatch: string) =>
    startServer(t, {
      app: 'postgres.lua',
      args: ['--dispatch', dispatch, '--threads', '2'],
      env: { MOONRING_TEST_DB: url },
    });
  const servers = [
    await start(direct, 'inline'),
    await start(postgres.url({ query: QUERY }), 'worker'),
    ...(bouncer ? [await start(`${bouncer.url}&${QUERY}`, 'inline')] : []),
  ];
  const settled = async (server: Server) => {
    const response = await fetch(`${server.url}/stats`);
    const { open, idle } = (await response.json()) as { open: number; idle: number };
    return open === idle;
  };
  const loads = servers.map((server, i) =>
    // The last digit selects the query. pgbouncer opens a connection for each cancelled query.
    startLoad(t, server, (n) =>
      i === 1 ? `echo?${n}` : `chaos?${n}-${(n * 7919) % (i === 0 ? 9 : 31)}`,
    ),
  );
  const programs = () => `pgbouncer's ends: ${bouncer?.crashes.join('\n')}`;
  const slowest = async (what: string) => {
    const times = await Promise.all(loads.map((load) => load.recovers())).catch((cause) => {
      throw new Error(`after ${what}; ${programs()}`, { cause });
    });
    return Math.max(...times);
  };
  const usualMs = await slowest('the start');
  const recover = async (what: string) => recovered(what, await slowest(what), usualMs);
  const before = servers.map((server) => descriptorsOf(server.reactorPids()[0] ?? 0));
  for (let round = 0; round < rounds; round += 1) {
    await killAndStart(postgres);
    await recover('kill -9');
    postgres.kill('SIGINT');
    await postgres.exited();
    await postgres.start();
    await recover('restart');
    await signalAll(postgres, 'SIGSTOP');
    await delay(STOPPED_MS);
    await signalAll(postgres, 'SIGCONT');
    await recover('SIGSTOP');
    relay.delay(20);
    await recover('slow network');
    relay.delay(0);
    relay.pause();
    await delay(STOPPED_MS);
    relay.resume();
    await recover('silent network');
    relay.cut();
    await recover('cut network');
    if (bouncer) {
      await killBouncer(bouncer);
      await recover('kill -9 of pgbouncer');
      bouncer.kill('SIGSTOP');
      await delay(STOPPED_MS);
      bouncer.kill('SIGCONT');
      await recover('SIGSTOP of pgbouncer');
    }
  }
  for (const load of loads) await load.stop();
  t.comment(programs());
  for (const [i, load] of loads.entries()) {
    t.same(load.wrong, [], 'no response belongs to another request');
    const unknown = [...load.failures().keys()].filter((name) => !NAMES.has(name));
    t.same(unknown, [], 'every error has a name that is known');
    t.ok(load.succeeded() > 50, `${load.succeeded()} requests have succeeded`);
    t.comment(JSON.stringify([...load.failures()]));
    const server = servers[i] as Server;
    await until('no connection is in use', () => settled(server));
    const after = () => descriptorsOf(server.reactorPids()[0] ?? 0);
    await until('no descriptor is left behind', () => after() <= (before[i] ?? 0) + 8);
  }
  await until('nothing is executed any more', async () => {
    const sql =
      "select count(*) from pg_stat_activity where usename = 'app' and (state = 'active' or state like 'idle in%')";
    return (await postgres.psql(sql)) === '0';
  });
}
