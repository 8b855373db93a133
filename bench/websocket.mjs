// The cost of WebSockets: CPU time per echoed message beside a raw epoll echo, Bun and npm's ws;
// memory of idle sockets; CPU time and latency of deliveries of a topic, beside Bun. See
// bench/README.md.
//
//   node bench/websocket.mjs [--only raw,moonring,bun,ws] [--bytes 5,1024] [--connections 64,1000]
//                            [--rounds 3] [--seconds 2] [--idle 10000] [--followers 10000]
//                            [--every 250] [--what echo,idle,broadcast] [--json]
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { setTimeout as delay } from 'node:timers/promises';
import { BENCH, choose, pinned, ratios, readOptions, runMain, spread } from './lib/command.mjs';
import { memoryOf, processTree, reactorOf, spentBy } from './lib/processes.mjs';
import { BUN, buildHelpers, PEERS, startMoonring, startServer } from './lib/servers.mjs';

const SETTLE_MS = 3000;
const { values } = readOptions({
  only: '',
  what: '',
  bytes: '5,1024',
  connections: '64,1000',
  rounds: '3',
  seconds: '2',
  idle: '10000',
  followers: '10000',
  every: '250',
});
const numbers = (text) => text.split(',').map(Number);
const median = (list) => [...list].sort((a, b) => a - b)[Math.floor(list.length / 2)];
const helpers = buildHelpers();

const APP = join(BENCH, 'apps/websocket.lua');
const OPTIONS = ['--ws-max-frames', '0', '--ws-ping-interval', '10m'];
const node = (file) => startServer([process.execPath, join(PEERS, file)], {});
const CONTENDERS = {
  raw: { start: () => startServer([helpers.websocket, 'serve'], {}) },
  moonring: { start: () => startMoonring(APP, { options: OPTIONS }) },
  bun: {
    missing: () => !existsSync(BUN),
    start: () => startServer([BUN, join(PEERS, 'bun.mjs')], {}),
  },
  ws: {
    missing: () => !existsSync(join(PEERS, 'node_modules/ws')),
    start: () => node('ws.mjs'),
  },
};

/** How a handler gets messages, and the path where the app does so. */
const STYLES = { callbacks: '/echo', coroutine: '/receive' };

/** The load generator, on core 1: `line()` resolves to the next line of its output. */
function startLoad(args) {
  const [program, ...rest] = pinned(1, [helpers.websocket, ...args.map(String)]);
  const child = spawn(program, rest, { stdio: ['pipe', 'pipe', 'inherit'] });
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
  const line = async () => {
    const { value, done } = await lines.next();
    if (done) throw new Error(`the load ended: ${args.join(' ')}`);
    return value;
  };
  const stop = async () => {
    child.stdin.end();
    child.kill();
    if (child.exitCode === null && child.signalCode === null) await once(child, 'exit');
  };
  return { line, go: () => child.stdin.write('\n'), stop };
}

/** Microseconds of CPU time of the server's processes per message. */
async function measureEcho({ start }, connections, bytes) {
  const server = await start();
  const load = startLoad(['echo', server.port, connections, bytes, values.seconds]);
  try {
    await load.line();
    const pids = processTree(server.pid);
    const before = spentBy(pids).cpuMicros;
    const { messages } = JSON.parse(await load.line());
    const cpuMicros = (spentBy(pids).cpuMicros - before) / messages;
    return { cpuMicros, perSecond: messages / Number(values.seconds) };
  } finally {
    await load.stop();
    await server.stop();
  }
}

async function echo(names, connections, bytes) {
  const rounds = Object.fromEntries(names.map((name) => [name, []]));
  for (let i = 0; i < Number(values.rounds); i++) {
    for (const name of names) {
      rounds[name].push(await measureEcho(CONTENDERS[name], connections, bytes));
    }
  }
  const figures = {};
  for (const name of names) {
    const cpu = (round) => round.cpuMicros;
    figures[name] = {
      cpuMicros: median(rounds[name].map(cpu)),
      perSecond: median(rounds[name].map(({ perSecond }) => perSecond)),
      toFirst: ratios(rounds[name], rounds[names[0]], cpu),
    };
  }
  return figures;
}

/** Bytes of the reactor's memory per idle socket of `path`. */
async function idle(path) {
  const server = await startMoonring(APP, { options: OPTIONS });
  const pid = reactorOf(server.pid);
  const first = startLoad(['echo', server.port, 64, 5, 1, path]); // one-time costs of the first sockets
  await first.line();
  await first.line();
  await first.stop();
  await delay(SETTLE_MS);
  const before = memoryOf(pid);
  const load = startLoad(['echo', server.port, values.idle, 5, 0, path]);
  try {
    await load.line();
    await delay(SETTLE_MS);
    const after = memoryOf(pid);
    const each = (key) => (after[key] - before[key]) / Number(values.idle);
    return Object.fromEntries(Object.keys(after).map((key) => [key, Math.round(each(key))]));
  } finally {
    await load.stop();
    await server.stop();
  }
}

const PUBLISHING = { PUBLISH_MS: values.every, PUBLISH_TIMES: '1' };
const FOLLOWED = {
  moonring: () =>
    startMoonring(APP, {
      cores: 'all',
      environment: PUBLISHING,
      options: [...OPTIONS, '--accept', 'boss'],
      processes: 2,
    }),
  bun: () => startServer([BUN, join(PEERS, 'bun.mjs')], { cores: 'all', environment: PUBLISHING }),
};

async function broadcast(name) {
  const server = await FOLLOWED[name]();
  const load = startLoad(['follow', server.port, values.followers, values.seconds]);
  try {
    await load.line();
    const pids = processTree(server.pid);
    const before = spentBy(pids).cpuMicros;
    load.go();
    const { deliveries, ...latency } = JSON.parse(await load.line());
    return { cpuMicros: (spentBy(pids).cpuMicros - before) / deliveries, deliveries, ...latency };
  } finally {
    await load.stop();
    await server.stop();
  }
}

async function main() {
  const names = choose(values.only, Object.keys(CONTENDERS)).filter((name) => {
    const isMissing = CONTENDERS[name].missing?.();
    if (isMissing)
      console.error(`${name} is missing: npm install --prefix bench/peers --no-package-lock`);
    return !isMissing;
  });
  const what = choose(values.what, ['echo', 'idle', 'broadcast']);
  const say = (text) => values.json || console.log(text);
  const results = {};
  for (const connections of what.includes('echo') ? numbers(values.connections) : []) {
    for (const bytes of numbers(values.bytes)) {
      const figures = await echo(names, connections, bytes);
      results[`echo ${bytes} × ${connections}`] = figures;
      say(`echo of ${bytes} bytes, ${connections} connections: µs of CPU time per message`);
      for (const [name, { cpuMicros, perSecond, toFirst }] of Object.entries(figures)) {
        say(
          `  ${name.padEnd(9)} ${cpuMicros.toFixed(2)}  ${Math.round(perSecond)}/s  × ${spread(toFirst)}`,
        );
      }
    }
  }
  if (what.includes('idle')) {
    for (const [style, path] of Object.entries(STYLES)) {
      results[`idle ${style}`] = await idle(path);
      say(
        `${values.idle} idle sockets, ${style}, bytes each: ${JSON.stringify(results[`idle ${style}`])}`,
      );
    }
  }
  for (const name of what.includes('broadcast') ? ['moonring', 'bun'] : []) {
    if (!names.includes(name)) continue;
    results[`broadcast ${name}`] = await broadcast(name);
    say(
      `broadcast to ${values.followers} sockets, ${name}: ${JSON.stringify(results[`broadcast ${name}`])}`,
    );
  }
  if (values.json) console.log(JSON.stringify(results));
}

runMain(main);
