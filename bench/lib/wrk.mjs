// The closed-loop load: as many requests as the connections allow, each when the last is answered.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { BENCH, pinnedToLoad } from './programs.mjs';

const TO_MILLISECONDS = { us: 0.001, ms: 1, s: 1000, m: 60_000 };
const TO_BYTES = { B: 1, KB: 1024, MB: 1024 ** 2, GB: 1024 ** 3 };

// Pipelined, wrk sometimes prints 0: it has no figure then.
function milliseconds(found) {
  return found ? Number(found[1]) * TO_MILLISECONDS[found[2]] || Number.NaN : Number.NaN;
}

// Why the figures of this run must not be used; undefined if they may.
function faultOf(output, requests) {
  const fault = /^\s*(Socket errors:.*|Non-2xx.*)$/m.exec(output);
  if (fault) {
    return `wrk: ${fault[1].trim()}`;
  }
  return requests > 0 ? undefined : 'wrk: no answer at all';
}

/** What a report of wrk says. */
export function parseWrk(output) {
  const requests = Number(/(\d+) requests in /.exec(output)?.[1] ?? 0);
  const read = /, ([\d.]+)([KMG]?B) read/.exec(output);
  return {
    requests,
    requestsPerSecond: Number(/Requests\/sec:\s+([\d.]+)/.exec(output)?.[1]),
    bytesPerRequest: read ? (Number(read[1]) * TO_BYTES[read[2]]) / requests : Number.NaN,
    p50Ms: milliseconds(/^\s+50%\s+([\d.]+)(us|ms|s|m)$/m.exec(output)),
    p99Ms: milliseconds(/^\s+99%\s+([\d.]+)(us|ms|s|m)$/m.exec(output)),
    maxMs: milliseconds(/^\s+Latency\s+\S+\s+\S+\s+([\d.]+)(us|ms|s|m)\s/m.exec(output)),
    invalid: faultOf(output, requests),
  };
}

/**
 * One run of wrk, pinned to its own core. `depth` requests are written at once, with a User-Agent
 * if `agent` is set. `invalid` of the result says why its figures must not be used, if that is so.
 */
export async function runWrk({ url, connections = 64, seconds, depth = 1, agent }) {
  const script = depth > 1 ? ['-s', join(BENCH, 'pipeline.lua')] : [];
  const scriptArgs = depth > 1 ? ['--', String(depth)] : [];
  const field = agent ? ['-H', `User-Agent: ${agent}`] : [];
  const [program, args] = pinnedToLoad('wrk', [
    ...['-t1', `-c${connections}`, `-d${seconds}s`, '--latency', ...field, ...script],
    ...[url, ...scriptArgs],
  ]);
  const child = spawn(program, args, { stdio: ['ignore', 'pipe', 'pipe'] });
  let output = '';
  for (const stream of [child.stdout, child.stderr]) {
    stream.on('data', (chunk) => {
      output += chunk;
    });
  }
  const [code] = await once(child, 'close');
  if (code !== 0) {
    throw new Error(`wrk failed:\n${output}`);
  }
  return parseWrk(output);
}

/** The same, for a program that has nothing to say when a request failed. */
export async function runFaultlessWrk(load) {
  const result = await runWrk(load);
  if (result.invalid) {
    throw new Error(result.invalid);
  }
  return result;
}
