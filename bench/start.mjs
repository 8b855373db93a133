// The time from `node dist/master.js` to the first response, and the memory of a reactor then.
// See bench/README.md.
//
//   node bench/start.mjs [--starts 11] [--json] [app.lua]
import { median, readOptions, requirePrograms, runMain } from './lib/command.mjs';
import { ask, mustBeValid, runWrk } from './lib/load.mjs';
import { memoryOf, reactorOf } from './lib/processes.mjs';
import { HELLO, startMoonring } from './lib/servers.mjs';

// On all cores, where master and reactor start side by side.
async function startOnce(app, use) {
  const begin = performance.now();
  const server = await startMoonring(app, { cores: 'all' });
  try {
    await ask(server.port);
    const tookMs = performance.now() - begin;
    await use?.(server);
    return { tookMs, memory: memoryOf(reactorOf(server.pid)) };
  } finally {
    await server.stop();
  }
}

async function main() {
  requirePrograms('wrk');
  const { values, positionals } = readOptions({ starts: '11' });
  const app = positionals[0] ?? HELLO;
  // Once, to fill the page cache.
  await startOnce(app);
  const starts = [];
  for (let i = 0; i < Number(values.starts); i += 1) starts.push(await startOnce(app));
  const loaded = await startOnce(app, async ({ port }) => {
    mustBeValid(await runWrk({ port, seconds: 2 }));
  });
  const medianMs = median(starts.map(({ tookMs }) => tookMs));
  const started = { private: median(starts.map(({ memory }) => memory.private)) };
  const memory = { started, loaded: loaded.memory };
  const mib = (bytes) => (bytes / 1024 ** 2).toFixed(1);
  console.log(
    values.json
      ? JSON.stringify({ medianMs, memory })
      : `first response after ${medianMs.toFixed(0)} ms (median of ${values.starts}); private ` +
          `memory of the reactor: ${mib(started.private)} MiB, ` +
          `${mib(loaded.memory.private)} MiB after a load`,
  );
}

await runMain(main);
