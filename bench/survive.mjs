// The cost of connections that outlive their process: CPU time per request compared with `--survive
// off`, in turns, memory of a keeper and of idle connections, and the time of a hand-over. See
// bench/README.md.
//
//   node bench/survive.mjs [--idle 9000] [--kills 4] [--rounds 10] [--seconds 2] [--json]
import { setTimeout as delay } from 'node:timers/promises';
import { ratios, readOptions, requirePrograms, runMain, spread } from './lib/command.mjs';
import { openIdle } from './lib/idle-connections.mjs';
import { measureWrk, mustBeValid } from './lib/load.mjs';
import {
  descriptorsOf,
  memoryOf,
  processTree,
  reactorOf,
  reactorsOf,
  until,
} from './lib/processes.mjs';
import { HELLO, startMoonring, startWarm } from './lib/servers.mjs';

/** jemalloc returns pages a second after they were freed. */
const SETTLE_MS = 3000;
const DEPTHS = { plain: 1, pipelined: 16 };
const MODES = ['all', 'off'];

const { values } = readOptions({ idle: '9000', kills: '4', rounds: '10', seconds: '2' });
const idleCount = Number(values.idle);
const long = ['--keepalive-timeout', '10m'];

/** CPU ratios of `all` to `off`, with one server under load at a time. */
async function measureCost() {
  const servers = {};
  const rounds = { plain: { all: [], off: [] }, pipelined: { all: [], off: [] } };
  try {
    for (const mode of MODES) {
      servers[mode] = await startWarm(HELLO, { options: ['--survive', mode] });
    }
    for (let round = 0; round < Number(values.rounds); round += 1) {
      for (const mode of round % 2 === 0 ? MODES : MODES.toReversed()) {
        for (const [name, depth] of Object.entries(DEPTHS)) {
          const load = { seconds: Number(values.seconds), depth };
          rounds[name][mode].push(mustBeValid(await measureWrk(servers[mode], load)));
        }
      }
    }
  } finally {
    await Promise.all(Object.values(servers).map(({ stop }) => stop()));
  }
  return Object.fromEntries(
    Object.entries(rounds).map(([name, { all, off }]) => [
      name,
      ratios(all, off, ({ cpuMicros }) => cpuMicros),
    ]),
  );
}

/** Bytes: memory of a keeper, and of a reactor per idle connection. */
async function measureMemory(mode) {
  const server = await startMoonring(HELLO, { options: [...long, '--survive', mode] });
  try {
    const reactor = reactorOf(server.pid);
    const settled = async () => {
      await delay(SETTLE_MS);
      return memoryOf(reactor).resident;
    };
    const [keeper] = processTree(reactor).slice(1);
    const before = await settled();
    const idle = await openIdle(server.port, idleCount);
    const each = ((await settled()) - before) / idleCount;
    const keeperBytes = keeper === undefined ? 0 : memoryOf(keeper).private;
    await idle.close();
    return { each, keeper: keeperBytes };
  } finally {
    await server.stop();
  }
}

/** Repeatedly kills the reactor, of two, that has more connections. */
async function measureHandOver() {
  const server = await startMoonring(HELLO, { options: long, processes: 2, cores: 'all' });
  const records = [];
  server.lines.on('line', (line) => {
    if (line.includes('"handOverMs"')) records.push(JSON.parse(line));
  });
  const times = [];
  try {
    const idle = await openIdle(server.port, idleCount);
    for (let kill = 1; kill <= Number(values.kills); kill += 1) {
      await until('two reactors', () => reactorsOf(server.pid).length === 2);
      const before = reactorsOf(server.pid);
      const victim = before.toSorted((a, b) => descriptorsOf(b) - descriptorsOf(a))[0];
      process.kill(victim, 'SIGKILL');
      const beganMs = performance.now();
      // Idle connections soon move to the successor.
      const held = () =>
        reactorsOf(server.pid).reduce(
          (sum, pid) => sum + (pid === victim ? 0 : descriptorsOf(pid)),
          0,
        );
      while (records.length < kill || held() < idleCount) {
        if (performance.now() - beganMs > 20_000) throw new Error('connections are missing');
        await delay(1);
      }
      const { handOverMs, connections } = records.at(-1);
      times.push({ handOverMs, count: connections.idle, servedMs: performance.now() - beganMs });
    }
    await idle.close();
  } finally {
    await server.stop();
  }
  return times;
}

await runMain(async () => {
  requirePrograms('wrk');
  const handOver = await measureHandOver();
  const memory = { all: await measureMemory('all'), off: await measureMemory('off') };
  const cost = await measureCost();
  if (values.json) {
    console.log(JSON.stringify({ idle: idleCount, handOver, memory, cost }));
    return;
  }
  const { all, off } = memory;
  for (const { count, handOverMs, servedMs } of handOver) {
    console.log(
      `${count} connections of a killed process: handed over in ${handOverMs.toFixed(1)} ms, ` +
        `with another process after ${servedMs.toFixed(0)} ms`,
    );
  }
  console.log(
    `none of ${idleCount} was closed in ${handOver.length} kills\n` +
      `memory: ${(all.keeper / 1024).toFixed(0)} KiB of a keeper; ${all.each.toFixed(0)} bytes of an idle ` +
      `connection, ${off.each.toFixed(0)} with --survive off\n` +
      `CPU per request against --survive off: ${spread(cost.plain, 3)} ×, ` +
      `pipelined ${spread(cost.pipelined, 3)} ×`,
  );
});
