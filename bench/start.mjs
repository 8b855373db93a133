// From `node dist/master.js` to the first answer, and what a reactor's memory is then.
// See bench/README.md.
//
//   node bench/start.mjs [--starts 11] [--json] [app.lua]
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { ask } from './lib/answer.mjs';
import { runMain } from './lib/arguments.mjs';
import { memoryOf } from './lib/memory.mjs';
import { ROOT, requirePrograms, startMoonring } from './lib/programs.mjs';
import { reactorPid } from './lib/reactor.mjs';
import { median } from './lib/statistics.mjs';
import { runFaultlessWrk } from './lib/wrk.mjs';

const { values: options, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    starts: { type: 'string', default: '11' },
    json: { type: 'boolean', default: false },
  },
});

// On all cores, as it is started in earnest: master and reactor start side by side there.
async function startOnce(app) {
  const begin = performance.now();
  const server = await startMoonring(app, { cores: 'all' });
  try {
    await ask(server.port, '/');
    const tookMs = performance.now() - begin;
    return { tookMs, memory: memoryOf(reactorPid(server.pid)) };
  } finally {
    await server.stop();
  }
}

async function memoryUnderLoad(app) {
  const server = await startMoonring(app, { cores: 'all' });
  try {
    const url = `http://127.0.0.1:${server.port}/`;
    await runFaultlessWrk({ url, seconds: 2 });
    return memoryOf(reactorPid(server.pid));
  } finally {
    await server.stop();
  }
}

function print({ starts, medianMs, lowestMs, highestMs, memory }) {
  const mib = (bytes) => (bytes / 1024 / 1024).toFixed(1);
  const text = (of) => `${mib(of.private)} MiB private, ${mib(of.resident)} MiB resident`;
  console.log(
    `first answer after ${medianMs.toFixed(0)} ms ` +
      `(${lowestMs.toFixed(0)}-${highestMs.toFixed(0)}, ${starts} starts)\n` +
      `reactor: ${text(memory.started)}; after two seconds of load: ${text(memory.loaded)}`,
  );
}

async function main() {
  requirePrograms('wrk');
  const app = positionals[0] ?? join(ROOT, 'examples', 'hello.lua');
  // Once for the page cache.
  await startOnce(app);
  const starts = [];
  for (let i = 0; i < Number(options.starts); i++) {
    starts.push(await startOnce(app));
  }
  const times = starts.map(({ tookMs }) => tookMs);
  const of = (key) => median(starts.map(({ memory }) => memory[key]));
  const figures = {
    starts: starts.length,
    medianMs: median(times),
    lowestMs: Math.min(...times),
    highestMs: Math.max(...times),
    memory: {
      started: { private: of('private'), resident: of('resident') },
      loaded: await memoryUnderLoad(app),
    },
  };
  if (options.json) console.log(JSON.stringify(figures));
  else print(figures);
}

await runMain(main);
