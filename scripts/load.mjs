/*
 * Load tests: starts the server, runs a k6 script of load/ against it, stops it, and writes a
 * report to build/load/<script>.md.
 *
 *     npm run load -- smoke [--duration 60] [--rate 500] [--processes 2] [--report file]
 *
 * Durations are in seconds. The exit code is k6's (99: a threshold was crossed), or 3 for a run
 * that is invalid because the generator was at its limit.
 */
import { existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { parseArgs } from 'node:util';

import { root } from './lib/root.mjs';
import { runMain, SetupError } from './lib/setup-error.mjs';
import { findK6, runK6 } from './load/k6.mjs';
import { report } from './load/report.mjs';
import { startSampler } from './load/sampler.mjs';
import { scenarios } from './load/scenarios.mjs';
import { startServer } from './load/server.mjs';
import { judge } from './load/verdict.mjs';
import { setUpServer } from './setup.mjs';

await runMain(async () => {
  const run = readArguments(process.argv.slice(2));
  const k6 = findK6();
  await setUpServer();
  const seen = await measure(run, k6);
  const { exitCode, verdict, reasons } = judge({ ...seen, scenario: run.scenario });
  const command = `npm run load -- ${process.argv.slice(2).join(' ')}`;
  const text = report({ ...seen, name: run.name, verdict, reasons, command });
  mkdirSync(dirname(run.report), { recursive: true });
  writeFileSync(run.report, text);
  process.stdout.write(`${[`${run.name}: ${verdict}`, ...reasons].join('\n  ')}\n${run.report}\n`);
  process.exitCode = exitCode;
});

function readArguments(words) {
  const number = { type: 'string' };
  const { values, positionals } = parseArgs({
    args: words,
    allowPositionals: true,
    options: { duration: number, rate: number, processes: number, report: { type: 'string' } },
  });
  const [name] = positionals;
  const scenario = Object.hasOwn(scenarios, name ?? '') ? scenarios[name] : undefined;
  if (positionals.length !== 1 || !scenario) {
    throw new SetupError(`name one of ${Object.keys(scenarios).join(', ')}.`);
  }
  return {
    name,
    scenario,
    seconds: positive('duration', values.duration ?? scenario.seconds),
    rate: values.rate === undefined ? null : positive('rate', values.rate),
    processes: positive('processes', values.processes ?? 2),
    report: resolve(values.report ?? join(root, 'build', 'load', `${name}.md`)),
  };
}

function positive(name, text) {
  const value = Number(text);
  if (value > 0) return value;
  throw new SetupError(`--${name} ${text}: not a positive number.`);
}

/** One run, and everything that was measured. */
async function measure({ name, scenario, seconds, rate, processes }, k6) {
  const { servers, restart } = await startServers(scenario, processes);
  const sampler = startSampler(() => servers.map(({ pid, ready }) => ({ pid, port: ready.port })));
  const over = new AbortController();
  const { signal } = over;
  const summaryPath = join(root, 'build', 'load', `${name}.json`);
  mkdirSync(dirname(summaryPath), { recursive: true });
  rmSync(summaryPath, { force: true });
  const generator = runK6(k6, `load/${name}.js`, {
    BASE_URL: servers[0].ready.address,
    TARGETS: servers.map(({ ready }) => `${ready.address},${ready.admin[0]}/readyz`).join(' '),
    DURATION: seconds,
    PROCESSES: processes,
    SUMMARY: summaryPath,
    ...(rate === null ? {} : { RATE: rate }),
  });
  const beside = scenario.during?.({ servers, restart, seconds, signal }).finally(generator.stop);
  try {
    const code = await generator.exited;
    over.abort();
    const { facts = [], failed = false } = (await beside) ?? {};
    const exits = await Promise.all(servers.map((server) => server.stop()));
    const serverFailures = [
      ...(failed ? facts : []),
      ...exits.flatMap((exit) => (exit.code === 0 ? [] : [`a server ended with ${exit.code}`])),
    ];
    return { code, facts, serverFailures, samples: sampler.samples, summary: read(summaryPath) };
  } finally {
    sampler.stop();
    over.abort();
    generator.stop();
    for (const server of servers) server.signal('SIGKILL');
  }
}

async function startServers({ app = 'lua/demo.lua', servers: count = 1, args = [] }, processes) {
  const start = (port, admin) => {
    const where = ['--port', String(port), '--admin', admin];
    return startServer([...where, '--processes', String(processes), ...args, app]);
  };
  const servers = [];
  for (let index = 0; index < count; index += 1) servers.push(await start(0, '127.0.0.1:0'));
  const restart = async (index) => {
    const { port, admin } = servers[index].ready;
    servers[index] = await start(port, new URL(admin[0]).host);
  };
  return { servers, restart };
}

function read(path) {
  return existsSync(path) ? JSON.parse(readFileSync(path, 'utf8')) : null;
}
