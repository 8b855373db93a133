// Handlers and tasks that wait: how many at once, how much memory each uses, and how fast other
// requests are beside them. See bench/README.md.
//
//   node bench/waiting.mjs [--sleepers 1000] [--held 10000] [--tasks 100000] [--slow 32] [--json]
import { fork } from 'node:child_process';
import { once } from 'node:events';
import { createServer } from 'node:http';
import { connect } from 'node:net';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { BENCH, readOptions, runMain } from './lib/command.mjs';
import { memoryOf, reactorOf } from './lib/processes.mjs';
import { startMoonring } from './lib/servers.mjs';

const AT_A_TIME = 64;
/** Spread over several addresses, so that the ports of one address do not run out. */
const PER_ADDRESS = 4000;
/** Pause between two quick requests. */
const INTERVAL_MS = 2;
/** Long enough to measure the memory in use. */
const HELD_SECONDS = 30;
/** Response time of the upstream. */
const UPSTREAM_MS = 2000;
/** jemalloc returns pages a second after they were freed. */
const SETTLE_MS = 3000;

const { values } = readOptions({ sleepers: '1000', held: '10000', tasks: '100000', slow: '32' });

/** A connection with one request at a time; returns the content of responses, as text. */
async function open(port, localAddress = '127.0.0.1') {
  const socket = connect({ port, host: '127.0.0.1', localAddress, noDelay: true });
  await once(socket, 'connect');
  const ask = async (path) => {
    socket.write(`GET ${path} HTTP/1.1\r\nHost: waiting\r\n\r\n`);
    const [bytes] = await once(socket, 'data');
    const text = bytes.toString('latin1');
    if (!/^HTTP\/1\.1 (200|302) /.test(text)) throw new Error(`${path}: ${text.slice(0, 100)}`);
    return text.slice(text.indexOf('\r\n\r\n') + 4);
  };
  return { socket, ask };
}

/** The child process of `hold`: opens connections and sends sleep requests on demand. */
async function holdConnections(port, count) {
  const clients = [];
  let next = 0;
  const openSome = async () => {
    while (next < count) {
      const client = await open(port, `127.0.0.${1 + Math.floor(next++ / PER_ADDRESS)}`);
      await client.ask('/');
      clients.push(client);
    }
  };
  await Promise.all(Array.from({ length: AT_A_TIME }, openSome));
  process.on('message', async (seconds) => {
    const begin = performance.now();
    await Promise.all(clients.map(({ ask }) => ask(`/sleep?${seconds}`)));
    process.send(performance.now() - begin);
  });
  process.send('open');
}

/** `count` connections in a separate process. `sleep(seconds)` returns the milliseconds for all. */
async function hold(server, count) {
  const child = fork(import.meta.filename, [], {
    env: { ...process.env, HOLD: `${server.port} ${count}` },
  });
  const exited = once(child, 'exit');
  const message = () => once(child, 'message').then(([value]) => value);
  if ((await Promise.race([message(), exited])) !== 'open') {
    throw new Error(`${count} connections could not be opened (ulimit -Hn?)`);
  }
  return {
    sleep: (seconds) => {
      child.send(seconds);
      return message();
    },
    end: async () => {
      child.kill();
      await exited;
    },
  };
}

/** A slow server. */
async function startUpstream() {
  const server = createServer((_, response) => {
    setTimeout(() => response.end('slow'), UPSTREAM_MS);
  }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  process.env.UPSTREAM = `http://127.0.0.1:${server.address().port}/`;
  return server;
}

/** Keeps `count` requests waiting for the upstream while `work` runs. */
async function besideSlowOnes(server, count, work) {
  let isOver = false;
  const slow = Array.from({ length: count }, async () => {
    const { socket, ask } = await open(server.port);
    while (!isOver) await ask('/slow');
    socket.destroy();
  });
  await delay(UPSTREAM_MS / 2);
  const result = await work().finally(() => {
    isOver = true;
  });
  await Promise.all(slow);
  return result;
}

/**
 * Latencies of quick requests while `work` runs: { result, p50, p99, most } in milliseconds.
 */
async function beside(client, work, path = '/') {
  const latencies = [];
  let isOver = false;
  const result = work.finally(() => {
    isOver = true;
  });
  while (!isOver) {
    const begin = performance.now();
    await client.ask(path);
    latencies.push(performance.now() - begin);
    await delay(INTERVAL_MS);
  }
  latencies.sort((a, b) => a - b);
  const at = (part) =>
    latencies[Math.min(latencies.length - 1, Math.floor(latencies.length * part))];
  return { result: await result, p50: at(0.5), p99: at(0.99), most: latencies.at(-1) };
}

async function settled(server, client) {
  await delay(SETTLE_MS);
  const lua = Number(await client.ask('/memory'));
  return { lua, resident: memoryOf(server.reactorPid).resident };
}

const eachOf = (before, after, count) => ({
  luaBytes: (after.lua - before.lua) / count,
  residentBytes: (after.resident - before.resident) / count,
});

async function main() {
  const [sleepers, held, tasks] = [values.sleepers, values.held, values.tasks].map(Number);
  const upstream = await startUpstream();
  const server = await startMoonring(join(BENCH, 'apps/waiting.lua'), {
    options: [
      ...['--dispatch', 'inline', '--handler-timeout', '10m', '--keepalive-timeout', '10m'],
      ...['--lua-memory', '1g', '--max-connections', String(held + 100)],
    ],
  });
  server.reactorPid = reactorOf(server.pid);
  const client = await open(server.port);
  const waiting = async () => Number(await client.ask('/waiting'));
  const figures = {};
  try {
    const few = await hold(server, sleepers);
    await few.sleep(0.01); // traces compiled, memory grown
    const one = await beside(client, few.sleep(1));
    figures.sleep = { sleepers, allMs: one.result, p50: one.p50, p99: one.p99, most: one.most };
    await few.end();

    const redirects = () => beside(client, delay(2 * UPSTREAM_MS), '/redirect');
    const alone = await redirects();
    const busy = await besideSlowOnes(server, Number(values.slow), redirects);
    figures.slow = { upstreams: Number(values.slow), ratio: busy.p50 / alone.p50, ...busy };

    const many = await hold(server, held);
    const idle = await settled(server, client);
    const all = many.sleep(HELD_SECONDS);
    while ((await waiting()) < held) await delay(10);
    figures.held = { requests: held, ...eachOf(idle, await settled(server, client), held) };
    figures.held.allMs = await all;
    await many.end();

    const before = await settled(server, client);
    await client.ask(`/tasks?${tasks}-${HELD_SECONDS}`);
    while ((await waiting()) < tasks) await delay(10);
    figures.tasks = { tasks, ...eachOf(before, await settled(server, client), tasks) };
    const quick = await beside(client, delay(2000));
    Object.assign(figures.tasks, { p50: quick.p50, p99: quick.p99, most: quick.most });
    while ((await waiting()) > 0) await delay(10);
  } finally {
    client.socket.destroy();
    await server.stop();
    upstream.close();
    upstream.closeAllConnections();
  }
  if (values.json) return console.log(JSON.stringify(figures));
  const quick = ({ p50, p99, most }) =>
    `quick ones beside them: p50 ${p50.toFixed(2)} ms, p99 ${p99.toFixed(1)} ms, at most ${most.toFixed(1)} ms`;
  const memory = ({ luaBytes, residentBytes }) =>
    `${luaBytes.toFixed(0)} bytes of Lua each, ${residentBytes.toFixed(0)} resident`;
  console.log(
    `${sleepers} × sleep(1) took ${figures.sleep.allMs.toFixed(0)} ms; ${quick(figures.sleep)}\n` +
      `redirects beside ${figures.slow.upstreams} waits for another server: ` +
      `${figures.slow.ratio.toFixed(2)} × the p50 without them; ${quick(figures.slow)}\n` +
      `${held} sleeping requests: ${memory(figures.held)}\n` +
      `${tasks} sleeping tasks: ${memory(figures.tasks)}; ${quick(figures.tasks)}`,
  );
}

if (process.env.HOLD) await holdConnections(...process.env.HOLD.split(' ').map(Number));
else await runMain(main);
