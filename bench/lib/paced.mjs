// The open-loop load: requests at a fixed rate, by bench/paced.c.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { pinnedToLoad } from './programs.mjs';

/** A server that answers less than this share of what was due is overloaded. */
const ENOUGH = 0.99;

/** Why the figures of a run must not be used; undefined if they may. */
export function faultOfPaced({ due, answered, failed }) {
  if (failed > 0) {
    return `${failed} requests failed`;
  }
  return answered < due * ENOUGH ? `it answered ${answered} of ${due} in time` : undefined;
}

/**
 * One run of `helper` (bench_paced), pinned to the core of the load. Latencies are milliseconds
 * from when a request was due. `invalid` says why they must not be used, if that is so.
 */
export async function runPaced(helper, { port, path, agent, connections, seconds, rate }) {
  const numbers = [port, connections, seconds, rate].map(String);
  const [program, args] = pinnedToLoad(helper, [...numbers, path, ...(agent ? [agent] : [])]);
  const child = spawn(program, args, { stdio: ['ignore', 'pipe', 'inherit'] });
  let output = '';
  child.stdout.on('data', (chunk) => {
    output += chunk;
  });
  const [code] = await once(child, 'close');
  if (code !== 0) {
    return { invalid: 'the load generator could not go on' };
  }
  const { p50, p99, p999, max, ...counts } = JSON.parse(output);
  return {
    ...counts,
    p50Ms: p50 / 1000,
    p99Ms: p99 / 1000,
    p999Ms: p999 / 1000,
    maxMs: max / 1000,
    invalid: faultOfPaced(counts),
  };
}
