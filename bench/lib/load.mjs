// Loads a server from the other core and measures the cost per request for the server's processes.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { request } from 'node:http';
import { join } from 'node:path';
import { BENCH, pinned } from './command.mjs';
import { processTree, spentBy } from './processes.mjs';

const TO_MILLISECONDS = { us: 0.001, ms: 1, s: 1000, m: 60_000 };
const TO_BYTES = { B: 1, KB: 1024, MB: 1024 ** 2, GB: 1024 ** 3 };
/** wrk rounds the number of bytes read, and stops in the middle of responses. */
const SHORT = 0.9;
/** A server that responds to less than this share of the requests due is overloaded. */
const ENOUGH = 0.99;

async function run(command, args) {
  const [program, ...rest] = pinned(1, [command, ...args]);
  const child = spawn(program, rest, { stdio: ['ignore', 'pipe', 'inherit'] });
  let output = '';
  child.stdout.setEncoding('utf8').on('data', (text) => {
    output += text;
  });
  const [code] = await once(child, 'close');
  if (code !== 0) throw new Error(`${command} failed: ${output}`);
  return output;
}

/** The figures of a report of wrk; `invalid` is why they must not be used. */
export function parseWrk(output) {
  const milliseconds = (pattern) => {
    const [, value, unit] = pattern.exec(output) ?? [];
    return unit ? Number(value) * TO_MILLISECONDS[unit] || Number.NaN : Number.NaN;
  };
  const requests = Number(/(\d+) requests in /.exec(output)?.[1] ?? 0);
  const [, size, unit] = /, ([\d.]+)([KMG]?B) read/.exec(output) ?? [];
  const fault = /^\s*(Socket errors:.*|Non-2xx.*)$/m.exec(output)?.[1];
  const invalid = fault ?? (requests > 0 ? undefined : 'no response at all');
  return {
    requests,
    requestsPerSecond: Number(/Requests\/sec:\s+([\d.]+)/.exec(output)?.[1]),
    bytesPerRequest: (Number(size) * TO_BYTES[unit]) / requests,
    p50Ms: milliseconds(/^\s+50%\s+([\d.]+)(us|ms|s|m)$/m),
    p99Ms: milliseconds(/^\s+99%\s+([\d.]+)(us|ms|s|m)$/m),
    maxMs: milliseconds(/^\s+Latency\s+\S+\s+\S+\s+([\d.]+)(us|ms|s|m)\s/m),
    ...(invalid ? { invalid: `wrk: ${invalid}` } : {}),
  };
}

/**
 * One run of wrk: `connections` connections with `depth` requests at once on each.
 *
 * @param {{ port: number, path?: string, agent?: string, bodyBytes?: number, connections?: number,
 *   seconds: number, depth?: number, fields?: string[], paths?: string, scheme?: 'https' }} load
 * `paths`: a file with
 *   a path on each line, requested in turn
 */
export async function runWrk({ port, path = '/', agent, bodyBytes = 0, depth = 1, ...load }) {
  const { connections = 64, seconds, fields = [], paths, scheme = 'http' } = load;
  const isPlain = depth === 1 && bodyBytes === 0 && paths === undefined;
  const script = isPlain ? [] : ['-s', join(BENCH, 'request.lua')];
  const output = await run('wrk', [
    ...['-t1', `-c${connections}`, `-d${seconds}s`, '--latency', ...script],
    ...(agent ? ['-H', `User-Agent: ${agent}`] : []),
    ...fields.flatMap((field) => ['-H', field]),
    `${scheme}://127.0.0.1:${port}${path}`,
    ...(isPlain ? [] : ['--', String(depth), String(bodyBytes), ...(paths ? [paths] : [])]),
  ]);
  return parseWrk(output);
}

/**
 * One run of paced.c: `rate` requests per second, whatever the server does. Latencies are measured
 * from the time at which a request was due.
 */
export async function runPaced(helpers, { port, path = '/', agent, connections, seconds, rate }) {
  const numbers = [port, connections, seconds, rate].map(String);
  const figures = JSON.parse(
    await run(helpers.paced, [...numbers, path, ...(agent ? [agent] : [])]),
  );
  const { due, answered, failed } = figures;
  let invalid;
  if (failed > 0) invalid = `${failed} requests failed`;
  else if (answered < due * ENOUGH) invalid = `it answered ${answered} of ${due} in time`;
  return { ...figures, requests: answered, ...(invalid ? { invalid } : {}) };
}

/**
 * Runs `load` and adds, per request, CPU microseconds and context switches of the server's whole
 * process tree.
 */
export async function measure(server, load) {
  const pids = processTree(server.pid);
  const before = spentBy(pids);
  const result = await load();
  const after = spentBy(pids);
  const per = (key) => (after[key] - before[key]) / result.requests;
  const [userMicros, systemMicros] = [per('userMicros'), per('systemMicros')];
  const cpuMicros = per('cpuMicros');
  return { ...result, userMicros, systemMicros, cpuMicros, switches: per('switches') };
}

/** The same, with wrk as the load. */
export async function measureWrk(server, load) {
  const result = await measure(server, () => runWrk({ port: server.port, ...load }));
  if (!result.invalid && result.bytesPerRequest < SHORT * (load.responseBytes ?? 0)) {
    result.invalid = `${result.bytesPerRequest.toFixed(0)} bytes per response`;
  }
  return result;
}

export function mustBeValid(result) {
  if (result.invalid) throw new Error(result.invalid);
  return result;
}

/** Sends one request; returns { status, headers, body }. */
export async function ask(port, { path = '/', agent, bodyBytes = 0 } = {}) {
  const method = bodyBytes > 0 ? 'POST' : 'GET';
  const headers = agent ? { 'User-Agent': agent } : {};
  const message = request({ port, host: '127.0.0.1', path, method, headers, agent: false });
  message.end('x'.repeat(bodyBytes));
  const [response] = await once(message, 'response', { signal: AbortSignal.timeout(5000) });
  let body = '';
  for await (const chunk of response.setEncoding('latin1')) body += chunk;
  return { status: response.statusCode, headers: response.headers, body };
}
