// System calls per request of a reactor, by strace -c. See bench/README.md.
//
//   node bench/syscalls.mjs [--path /] [--seconds 2] [--connections 64] [--depth 1] [--json]
//     [app.lua]
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { readOptions, requirePrograms, runMain } from './lib/command.mjs';
import { mustBeValid, runWrk } from './lib/load.mjs';
import { until } from './lib/processes.mjs';
import { HELLO, startWarm } from './lib/servers.mjs';

// `% time  seconds  usecs/call  calls  [errors]  syscall`
function parseSummary(text) {
  const counts = new Map();
  for (const line of text.split('\n')) {
    const fields = line.trim().split(/\s+/);
    if (fields.length >= 5 && /^[\d.]+$/.test(fields[0]) && fields.at(-1) !== 'total') {
      counts.set(fields.at(-1), Number(fields[3]));
    }
  }
  return counts;
}

function tracerOf(pid) {
  const status = readFileSync(`/proc/${pid}/status`, 'latin1');
  return Number(/^TracerPid:\s+(\d+)$/m.exec(status)[1]);
}

async function countSystemCalls(pid, load) {
  const strace = spawn('strace', ['-c', '-f', '-p', String(pid)], {
    stdio: ['ignore', 'ignore', 'pipe'],
  });
  const closed = once(strace, 'close');
  let summary = '';
  strace.stderr.on('data', (chunk) => {
    summary += chunk;
  });
  await until('strace is attached', () => tracerOf(pid) === strace.pid);
  const result = await load();
  strace.kill('SIGINT');
  await closed;
  return { result, counts: parseSummary(summary) };
}

async function main() {
  requirePrograms('wrk', 'strace');
  const defaults = { path: '/', seconds: '2', connections: '64', depth: '1' };
  const { values, positionals } = readOptions(defaults);
  const { path } = values;
  const [seconds, connections, depth] = [values.seconds, values.connections, values.depth].map(
    Number,
  );
  const server = await startWarm(positionals[0] ?? HELLO, { path });
  try {
    const { result, counts } = await countSystemCalls(server.reactorPid, async () =>
      mustBeValid(await runWrk({ port: server.port, path, seconds, connections, depth })),
    );
    const { requests } = result;
    const perRequest = [...counts]
      .map(([name, calls]) => ({ name, perRequest: calls / requests }))
      .toSorted((a, b) => b.perRequest - a.perRequest);
    const total = perRequest.reduce((sum, call) => sum + call.perRequest, 0);
    if (values.json) console.log(JSON.stringify({ requests, total, perRequest }));
    else {
      for (const call of perRequest) {
        console.log(`${call.perRequest.toFixed(4).padStart(8)}  ${call.name}`);
      }
      console.log(
        `${total.toFixed(4).padStart(8)}  system calls per request (${requests} requests)`,
      );
    }
  } finally {
    await server.stop();
  }
}

await runMain(main);
