// Contenders measured in turns, and what comes out of it.
import { measure } from './measure.mjs';
import { runPaced } from './paced.mjs';
import { cpuSeconds, processTree } from './process-tree.mjs';
import { median, ratioOfSums, ratios } from './statistics.mjs';

const WARM_UP_SECONDS = 2;
/** wrk rounds what it has read, and stops in the middle of a batch. */
const BYTES_TOLERANCE = 0.02;

/** Requests a write; 0: at a fixed rate. */
export const DEPTHS = { plain: 1, pipelined: 16, paced: 0 };

async function measurePaced(server, { helper, connections, seconds, rate }) {
  const pids = processTree(server.pid);
  const before = cpuSeconds(pids);
  const { port, path, agent } = server;
  const load = await runPaced(helper, { port, path, agent, connections, seconds, rate });
  const after = cpuSeconds(pids);
  const micros = (key) => ((after[key] - before[key]) / load.answered) * 1e6;
  const [userMicros, systemMicros] = [micros('userSeconds'), micros('systemSeconds')];
  return { ...load, userMicros, systemMicros, cpuMicros: userMicros + systemMicros };
}

async function measureOnce(server, load) {
  if (load.depth === 0) {
    return measurePaced(server, load);
  }
  const { path, agent } = server;
  const { depth, seconds, connections } = load;
  const round = await measure(server, { path, agent, depth, seconds, connections });
  const isOff = Math.abs(round.bytesPerRequest / server.answerBytes - 1) > BYTES_TOLERANCE;
  if (!round.invalid && isOff) {
    const [was, should] = [round.bytesPerRequest.toFixed(0), server.answerBytes];
    return { ...round, invalid: `${was} bytes an answer under load instead of ${should}` };
  }
  return round;
}

// So that nobody is always measured after the same neighbour, or first.
function rotated(items, by) {
  const at = by % items.length;
  return [...items.slice(at), ...items.slice(0, at)];
}

/**
 * Loads each of `servers` ({ name, pid, port, path, agent, answerBytes }) in each round; resolves
 * to the rounds of each by name. Who has failed once is not measured again: its last round is
 * `invalid`.
 */
export async function runRounds(servers, rounds, load) {
  const results = new Map(servers.map((server) => [server.name, []]));
  const faulty = new Set();
  for (const server of servers) {
    const warmUp = await measureOnce(server, { ...load, seconds: WARM_UP_SECONDS });
    if (warmUp.invalid) {
      faulty.add(server);
      results.get(server.name).push(warmUp);
    }
  }
  for (let round = 0; round < rounds; round++) {
    for (const server of rotated(servers, round)) {
      if (faulty.has(server)) continue;
      const result = await measureOnce(server, load);
      if (result.invalid) faulty.add(server);
      results.get(server.name).push(result);
    }
  }
  return results;
}

/** A row of the table: medians, and ratios taken round by round against `base`, if it is there. */
export function summarise(server, rounds, base) {
  const { name, answerBytes } = server;
  const invalid = rounds.at(-1).invalid;
  if (invalid) {
    return { name, answerBytes, invalid };
  }
  const row = { name, answerBytes };
  for (const key of ['userMicros', 'systemMicros', 'cpuMicros', 'requestsPerSecond']) {
    if (key in rounds[0]) row[key] = median(rounds.map((round) => round[key]));
  }
  for (const key of ['p50Ms', 'p99Ms', 'p999Ms']) {
    if (key in rounds[0]) row[key] = median(rounds.map((round) => round[key]));
  }
  if (base && !base.at(-1).invalid) {
    row.ratio = ratios(rounds, base, (round) => round.cpuMicros);
    row.userRatio = ratioOfSums(rounds, base, (round) => round.userMicros);
  }
  return row;
}
