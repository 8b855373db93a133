// Calls of malloc and its kin per request in steady state, counted by a preloaded shim.
// See bench/README.md.
//
//   node bench/allocations.mjs [--seconds 2] [--connections 64] [--depth 1] [--path /] [app.lua]
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { buildHelpers, ROOT, requirePrograms, runWrk } from './lib/programs.mjs';
import { startWarmReactor } from './lib/reactor.mjs';

const SLOT_SIZE = 16;

const { values: options, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    seconds: { type: 'string', default: '2' },
    connections: { type: 'string', default: '64' },
    depth: { type: 'string', default: '1' },
    path: { type: 'string', default: '/' },
  },
});

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

async function main() {
  requirePrograms('wrk', 'cmake');
  const dir = mkdtempSync(join(tmpdir(), 'moonring-bench-malloc-'));
  const server = await startWarmReactor(positionals[0] ?? join(ROOT, 'examples', 'hello.lua'), {
    path: options.path,
    // The master would put jemalloc in front of the shim, and the count does not depend on it.
    options: ['--allocator', 'system'],
    environment: {
      LD_PRELOAD: buildHelpers().mallocCount,
      MOONRING_MALLOC_COUNT_DIR: dir,
    },
  });
  try {
    const file = join(dir, String(server.reactorPid));
    const load = {
      url: server.url,
      connections: Number(options.connections),
      depth: Number(options.depth),
    };
    await runWrk({ ...load, seconds: 1 });
    const before = readCounters(file);
    const { requests } = await runWrk({ ...load, seconds: Number(options.seconds) });
    const after = readCounters(file);
    if (after.size === 0) {
      throw new Error('The shim counted nothing at all: it is not in front of the allocator.');
    }
    for (const [threadId, calls] of after) {
      const made = calls - (before.get(threadId) ?? 0);
      const role = threadId === server.ioThread ? 'IO thread' : `thread ${threadId}`;
      if (made > 0 || threadId === server.ioThread) {
        console.log(`${(made / requests).toFixed(6)}  allocations per request, ${role} (${made})`);
      }
    }
    console.log(
      `${requests} requests, ${load.connections} connections, ${load.depth} a write; a new connection may allocate`,
    );
  } finally {
    await server.stop();
    rmSync(dir, { recursive: true });
  }
}

try {
  await main();
} catch (error) {
  console.error(error.message);
  process.exitCode = 1;
}
