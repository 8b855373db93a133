// Calls of malloc and related functions per request in steady state, counted by a preloaded shim.
// See bench/README.md.
//
//   node bench/allocations.mjs [--path /] [--seconds 2] [--connections 64] [--depth 1] [--json]
//     [app.lua]
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { readOptions, requirePrograms, runMain } from './lib/command.mjs';
import { mustBeValid, runWrk } from './lib/load.mjs';
import { buildHelpers, HELLO, startWarm } from './lib/servers.mjs';

// The file of malloc-count.c: pairs of a thread id and its number of calls, eight bytes each.
function readCounters(path) {
  const bytes = readFileSync(path);
  const counters = new Map();
  for (let at = 0; at < bytes.length; at += 16) {
    const thread = Number(bytes.readBigUInt64LE(at));
    if (thread !== 0) counters.set(thread, Number(bytes.readBigUInt64LE(at + 8)));
  }
  if (counters.size === 0) throw new Error('The shim counted nothing: it is not preloaded.');
  return counters;
}

async function main() {
  requirePrograms('wrk', 'cmake');
  const defaults = { path: '/', seconds: '2', connections: '64', depth: '1' };
  const { values, positionals } = readOptions(defaults);
  const { path } = values;
  const [seconds, connections, depth] = [values.seconds, values.connections, values.depth].map(
    Number,
  );
  const directory = mkdtempSync(join(tmpdir(), 'moonring-bench-'));
  const server = await startWarm(positionals[0] ?? HELLO, {
    path,
    // jemalloc would come before the shim, and the count does not depend on it.
    options: ['--allocator', 'system'],
    environment: {
      LD_PRELOAD: buildHelpers().mallocCount,
      MOONRING_MALLOC_COUNT_DIR: directory,
    },
  });
  const load = async (time) =>
    mustBeValid(await runWrk({ port: server.port, path, seconds: time, connections, depth }));
  try {
    const file = join(directory, String(server.reactorPid));
    await load(1);
    const before = readCounters(file);
    const { requests } = await load(seconds);
    const threads = [...readCounters(file)]
      .map(([id, calls]) => ({
        thread: id === server.ioThread ? 'I/O thread' : `thread ${id}`,
        calls: calls - (before.get(id) ?? 0),
      }))
      .filter(({ thread, calls }) => calls > 0 || thread === 'I/O thread');
    if (values.json) console.log(JSON.stringify({ requests, threads }));
    else {
      for (const { thread, calls } of threads) {
        console.log(
          `${(calls / requests).toFixed(6)}  allocations per request, ${thread} (${calls})`,
        );
      }
      console.log(`${requests} requests; the ${connections} new connections may allocate`);
    }
  } finally {
    await server.stop();
    rmSync(directory, { recursive: true });
  }
}

await runMain(main);
