// Calls of malloc and its kin per request in steady state, counted by a preloaded shim.
// See bench/README.md.
//
//   node bench/allocations.mjs [--seconds 2] [--connections 64] [--depth 1] [--path /]
//     [--json] [app.lua]
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { readInspection, runMain } from './lib/arguments.mjs';
import { buildHelpers, requirePrograms } from './lib/programs.mjs';
import { startWarmReactor } from './lib/reactor.mjs';
import { runFaultlessWrk } from './lib/wrk.mjs';

const SLOT_SIZE = 16;

function readCounters(path) {
  const bytes = readFileSync(path);
  const counters = new Map();
  for (let at = 0; at < bytes.length; at += SLOT_SIZE) {
    const threadId = Number(bytes.readBigUInt64LE(at));
    if (threadId !== 0) {
      counters.set(threadId, Number(bytes.readBigUInt64LE(at + 8)));
    }
  }
  return counters;
}

// Calls made by each thread between two readings, the IO thread's always among them.
function callsBetween(before, after, ioThread) {
  if (after.size === 0) {
    throw new Error('The shim counted nothing at all: it is not in front of the allocator.');
  }
  return [...after]
    .map(([threadId, calls]) => ({
      thread: threadId === ioThread ? 'IO thread' : `thread ${threadId}`,
      calls: calls - (before.get(threadId) ?? 0),
    }))
    .filter(({ thread, calls }) => calls > 0 || thread === 'IO thread');
}

async function main() {
  requirePrograms('wrk', 'cmake');
  const { app, path, load, json } = readInspection();
  const dir = mkdtempSync(join(tmpdir(), 'moonring-bench-malloc-'));
  const server = await startWarmReactor(app, {
    path,
    // The master would put jemalloc in front of the shim, and the count does not depend on it.
    options: ['--allocator', 'system'],
    environment: {
      LD_PRELOAD: buildHelpers().mallocCount,
      MOONRING_MALLOC_COUNT_DIR: dir,
    },
  });
  try {
    const file = join(dir, String(server.reactorPid));
    await runFaultlessWrk({ url: server.url, ...load, seconds: 1 });
    const before = readCounters(file);
    const { requests } = await runFaultlessWrk({ url: server.url, ...load });
    const threads = callsBetween(before, readCounters(file), server.ioThread);
    if (json) {
      console.log(JSON.stringify({ ...load, requests, threads }));
      return;
    }
    for (const { thread, calls } of threads) {
      const perRequest = (calls / requests).toFixed(6);
      console.log(`${perRequest}  allocations per request, ${thread} (${calls})`);
    }
    console.log(
      `${requests} requests, ${load.connections} connections, ${load.depth} a write; a new connection may allocate`,
    );
  } finally {
    await server.stop();
    rmSync(dir, { recursive: true });
  }
}

await runMain(main);
