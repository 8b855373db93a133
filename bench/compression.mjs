// CPU time and bytes per response for JSON that is compressed: gzip and brotli of a handler beside
// Debian's nginx and node:zlib at the same level, measured in turns. See bench/README.md.
//
//   node bench/compression.mjs [--sizes 1,5,20] [--only moonring-gzip,nginx-gzip,node-gzip,…]
//     [--base nginx-gzip] [--level 6] [--rounds 5] [--seconds 2] [--connections 64] [--json]
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import {
  BENCH,
  choose,
  inTurn,
  readOptions,
  requirePrograms,
  runMain,
  spread,
  summarise,
} from './lib/command.mjs';
import { measureWrk } from './lib/load.mjs';
import { startMoonring, startNginx, startServer } from './lib/servers.mjs';

const { values } = readOptions({
  sizes: '1,5,20',
  only: 'moonring,moonring-gzip,nginx-gzip,node-gzip,moonring-br,node-br',
  base: 'nginx-gzip',
  level: '6',
  rounds: '5',
  seconds: '2',
  connections: '64',
});

const APP = join(BENCH, 'apps/compressed.lua');
const BR_LEVEL = '4';

const moonring = (...options) =>
  startMoonring(APP, { options: ['--dispatch', 'inline', ...options] });
const node = (root, ...args) =>
  startServer([process.execPath, join(BENCH, 'peers/node-zlib.mjs'), root, ...args], {});

const contenders = (root) => ({
  moonring: () => moonring(), // not compressed
  'moonring-gzip': () => moonring('--compress', 'gzip', '--compress-gzip-level', values.level),
  'moonring-br': () => moonring('--compress', 'br', '--compress-br-level', BR_LEVEL),
  'nginx-gzip': () =>
    startNginx(
      (port) => `
  types { application/json json; }
  open_file_cache max=16;
  gzip on;
  gzip_types application/json;
  gzip_comp_level ${values.level};
  server { listen 127.0.0.1:${port} reuseport; root ${root}; }`,
    ),
  'node-gzip': () => node(root, 'gzip', values.level),
  'node-br': () => node(root, 'br', BR_LEVEL),
});

const pathOf = (name, size) => (name.startsWith('moonring') ? `/?${size}` : `/${size}.json`);
const codingOf = (name) => name.split('-')[1] ?? 'identity';

/** The JSON of each size as the app makes it, as files for the others. */
async function makeFiles(root, sizes) {
  const server = await moonring('--compress', 'gzip');
  for (const size of sizes) {
    const url = `http://127.0.0.1:${server.port}/?${size}`;
    const response = await fetch(url, { headers: { 'Accept-Encoding': 'identity' } });
    writeFileSync(join(root, `${size}.json`), await response.text());
  }
  await server.stop();
}

await runMain(async () => {
  requirePrograms('wrk', 'nginx');
  const root = mkdtempSync(join(tmpdir(), 'moonring-compression-'));
  const sizes = values.sizes.split(',');
  const all = contenders(root);
  const servers = [];
  try {
    await makeFiles(root, sizes);
    for (const name of choose(values.only, Object.keys(all)))
      servers.push({ name, ...(await all[name]()) });
    for (const size of sizes) {
      const results = new Map(servers.map(({ name }) => [name, []]));
      const run = (server, seconds) =>
        measureWrk(server, {
          path: pathOf(server.name, size),
          fields: [`Accept-Encoding: ${codingOf(server.name)}`],
          connections: Number(values.connections),
          seconds,
        });
      for (const server of servers) await run(server, 1);
      for (let round = 0; round < Number(values.rounds); round += 1) {
        for (const server of inTurn(servers, round))
          results.get(server.name).push(await run(server, Number(values.seconds)));
      }
      const base = results.has(values.base) ? values.base : servers[0].name;
      const rows = servers.map(({ name }) => ({
        ...summarise(name, results.get(name), results.get(base)),
        bytes: Math.round(results.get(name)[0].bytesPerRequest),
      }));
      if (values.json) console.log(JSON.stringify({ size, base, rows }));
      else print(size, base, rows);
    }
  } finally {
    await Promise.all(servers.map((each) => each.stop()));
    rmSync(root, { recursive: true });
  }
});

function print(size, base, rows) {
  console.log(`\nJSON of ${size} KB, CPU against ${base}`);
  for (const { name, invalid, cpuMicros, ratio, bytes } of rows) {
    const figures = invalid
      ? `not valid: ${invalid}`
      : `${cpuMicros.toFixed(1).padStart(9)} µs ${(ratio ? spread(ratio) : '').padStart(18)} × ${String(bytes).padStart(7)} bytes`;
    console.log(name.padEnd(15) + figures);
  }
}
