// What idle keep-alive connections cost: memory of the reactor for each, and speed of the active
// ones. See bench/README.md.
//
//   node bench/idle.mjs [--idle 10000] [--connections 64] [--rounds 3] [--seconds 2] [--json]
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import { runMain } from './lib/arguments.mjs';
import { fittingConnections } from './lib/descriptor-limit.mjs';
import { holdIdleConnections } from './lib/idle-connections.mjs';
import { measure } from './lib/measure.mjs';
import { memoryOf } from './lib/memory.mjs';
import { ROOT, requirePrograms } from './lib/programs.mjs';
import { startWarmReactor, until } from './lib/reactor.mjs';
import { median, ratios, spread } from './lib/statistics.mjs';

/** jemalloc gives pages back a second after they were freed. */
const SETTLE_MS = 3000;

const { values: options } = parseArgs({
  options: {
    idle: { type: 'string', default: '10000' },
    connections: { type: 'string', default: '64' },
    rounds: { type: 'string', default: '3' },
    seconds: { type: 'string', default: '2' },
    json: { type: 'boolean', default: false },
  },
});

const descriptors = (pid) => readdirSync(`/proc/${pid}/fd`).length;

async function settledMemory(server) {
  await delay(SETTLE_MS);
  return memoryOf(server.reactorPid);
}

async function measureActive(server) {
  const round = await measure(server, {
    path: '/',
    depth: 1,
    seconds: Number(options.seconds),
    connections: Number(options.connections),
  });
  if (round.invalid) throw new Error(round.invalid);
  return round;
}

// Idle connections opened for nothing but a look at the memory; the loads come later, on the same
// server, because what a load leaves behind is not the price of an idle connection.
async function growth(server, count) {
  const before = await settledMemory(server);
  const open = descriptors(server.reactorPid);
  const idle = await holdIdleConnections(server.port, count);
  try {
    const held = descriptors(server.reactorPid) - open;
    if (held < count) throw new Error(`Only ${held} of ${count} connections are open.`);
    const after = await settledMemory(server);
    return {
      residentBytes: (after.resident - before.resident) / count,
      privateBytes: (after.private - before.private) / count,
    };
  } finally {
    await idle.close();
    await until('the idle connections are gone', () => descriptors(server.reactorPid) <= open);
  }
}

async function speeds(server, count) {
  const rounds = { without: [], with: [] };
  await measureActive(server);
  const open = descriptors(server.reactorPid);
  for (let round = 0; round < Number(options.rounds); round++) {
    rounds.without.push(await measureActive(server));
    const idle = await holdIdleConnections(server.port, count);
    try {
      rounds.with.push(await measureActive(server));
    } finally {
      await idle.close();
      await until('the idle connections are gone', () => descriptors(server.reactorPid) <= open);
    }
  }
  return rounds;
}

function print({ idle, memory, throughput, cpu, p99Ms }) {
  const bytes = (value) => value.toFixed(0);
  console.log(
    `${idle} idle connections: ${bytes(memory.residentBytes)} bytes resident each ` +
      `(${bytes(memory.privateBytes)} private), after one request on each\n` +
      `${options.connections} active ones beside them: throughput ${spread(throughput)} ×, ` +
      `CPU per request ${spread(cpu)} ×, p99 ${p99Ms.without} -> ${p99Ms.with} ms`,
  );
}

async function main() {
  requirePrograms('wrk');
  const count = fittingConnections(Number(options.idle));
  const server = await startWarmReactor(join(ROOT, 'examples', 'hello.lua'), {
    options: ['--keepalive-timeout', '10m'],
  });
  try {
    const memory = await growth(server, count);
    const rounds = await speeds(server, count);
    const p99 = (side) => median(rounds[side].map((round) => round.p99Ms));
    const figures = {
      idle: count,
      memory,
      throughput: ratios(rounds.with, rounds.without, (round) => round.requestsPerSecond),
      cpu: ratios(rounds.with, rounds.without, (round) => round.cpuMicros),
      p99Ms: { without: p99('without'), with: p99('with') },
    };
    if (options.json) console.log(JSON.stringify(figures));
    else print(figures);
  } finally {
    await server.stop();
  }
}

await runMain(main);
