// System calls per request of a reactor, by strace -c. See bench/README.md.
//
//   node bench/syscalls.mjs [--seconds 2] [--connections 64] [--depth 1] [--path /] [app.lua]
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { ROOT, requirePrograms, runWrk } from './lib/programs.mjs';
import { startWarmReactor, until } from './lib/reactor.mjs';

const { values: options, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    seconds: { type: 'string', default: '2' },
    connections: { type: 'string', default: '64' },
    depth: { type: 'string', default: '1' },
    path: { type: 'string', default: '/' },
  },
});

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
  const server = await startWarmReactor(positionals[0] ?? join(ROOT, 'examples', 'hello.lua'), {
    path: options.path,
  });
  try {
    const { result, counts } = await countSystemCalls(server.reactorPid, () =>
      runWrk({
        url: server.url,
        seconds: Number(options.seconds),
        connections: Number(options.connections),
        depth: Number(options.depth),
      }),
    );
    let total = 0;
    for (const [name, calls] of [...counts].toSorted((a, b) => b[1] - a[1])) {
      total += calls;
      console.log(`${(calls / result.requests).toFixed(4).padStart(8)}  ${name}`);
    }
    console.log(
      `${(total / result.requests).toFixed(4).padStart(8)}  system calls per request ` +
        `(${result.requests} requests, ${options.connections} connections, ${options.depth} a write)`,
    );
  } finally {
    await server.stop();
  }
}

try {
  await main();
} catch (error) {
  console.error(error.message);
  process.exitCode = 1;
}
