// The cost of idle keep-alive connections: memory of the reactor for each, and the speed of active
// ones beside them. See bench/README.md.
//
//   node bench/idle.mjs [--idle 10000] [--connections 64] [--rounds 3] [--seconds 2] [--json]
import { setTimeout as delay } from 'node:timers/promises';
import { ratios, readOptions, requirePrograms, runMain, spread } from './lib/command.mjs';
import { openIdle } from './lib/idle-connections.mjs';
import { measureWrk, mustBeValid } from './lib/load.mjs';
import { descriptorsOf, memoryOf, until } from './lib/processes.mjs';
import { HELLO, startWarm } from './lib/servers.mjs';

/** jemalloc returns pages a second after they were freed. */
const SETTLE_MS = 3000;

const { values } = readOptions({ idle: '10000', connections: '64', rounds: '3', seconds: '2' });

async function settledMemory(server) {
  await delay(SETTLE_MS);
  return memoryOf(server.reactorPid);
}

/** Runs `use` beside `count` idle connections. */
async function beside(server, count, use) {
  const open = descriptorsOf(server.reactorPid);
  const idle = await openIdle(server.port, count);
  try {
    const held = descriptorsOf(server.reactorPid) - open;
    if (held < count) throw new Error(`Only ${held} of ${count} connections are open.`);
    return await use();
  } finally {
    await idle.close();
    await until('they are closed', () => descriptorsOf(server.reactorPid) <= open);
  }
}

async function main() {
  requirePrograms('wrk');
  const count = Number(values.idle);
  const server = await startWarm(HELLO, { options: ['--keepalive-timeout', '10m'] });
  const measureActive = async () => {
    const load = { seconds: Number(values.seconds), connections: Number(values.connections) };
    return mustBeValid(await measureWrk(server, load));
  };
  try {
    // Memory first: memory left behind by a load is not a cost of idle connections.
    const before = await settledMemory(server);
    const after = await beside(server, count, () => settledMemory(server));
    const each = (key) => (after[key] - before[key]) / count;
    const rounds = { without: [], with: [] };
    for (let round = 0; round < Number(values.rounds); round += 1) {
      rounds.without.push(await measureActive());
      rounds.with.push(await beside(server, count, measureActive));
    }
    const throughput = ratios(rounds.with, rounds.without, (round) => round.requestsPerSecond);
    const memory = { residentBytes: each('resident'), privateBytes: each('private') };
    if (values.json) console.log(JSON.stringify({ idle: count, memory, throughput }));
    else {
      console.log(
        `${count} idle connections: ${memory.residentBytes.toFixed(0)} bytes resident each ` +
          `(${memory.privateBytes.toFixed(0)} private)\n` +
          `${values.connections} active ones beside them: throughput ${spread(throughput)} ×`,
      );
    }
  } finally {
    await server.stop();
  }
}

await runMain(main);
