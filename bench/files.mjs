// CPU time per request for static files: `moonring serve` and Debian's nginx, measured in turns.
// See bench/README.md.
//
//   node bench/files.mjs [--work 16k,1m,rotation,many] [--only moonring,nginx,nginx-plain]
//     [--base nginx] [--rounds 5] [--seconds 2] [--connections 64] [--options "--flag …"] [--json]
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { brotliCompressSync, gzipSync } from 'node:zlib';
import {
  choose,
  inTurn,
  readOptions,
  requirePrograms,
  runMain,
  spread,
  summarise,
} from './lib/command.mjs';
import { measureWrk } from './lib/load.mjs';
import { startMoonring, startNginx } from './lib/servers.mjs';

const { values } = readOptions({
  work: '',
  only: 'moonring,nginx',
  base: 'nginx',
  rounds: '5',
  seconds: '2',
  connections: '64',
  options: '',
});

/** Text as compressible as web pages, different for each number. */
function textOf(number, bytes) {
  let seed = number + 1;
  let text = '';
  while (text.length < bytes) {
    seed = (seed * 1_103_515_245 + 12_345) % 2 ** 31;
    text += `<p class="c${seed % 40}">${(seed % 65_536).toString(36)} of ${seed.toString(16)}</p>\n`;
  }
  return text.slice(0, bytes);
}

const ROTATION = Array.from({ length: 20 }, (_, i) => Math.round(3000 * 100 ** (i / 19)));
const MANY = 10_000;

/** Writes the files of all works below `root`, and the lists of paths next to it. */
function makeFiles(root, lists) {
  writeFileSync(join(root, '16k.html'), textOf(0, 16 * 1024));
  writeFileSync(join(root, '1m.html'), textOf(1, 1024 ** 2));
  for (const [i, bytes] of ROTATION.entries()) {
    const text = textOf(i, bytes);
    writeFileSync(join(root, `r${i}.js`), text);
    writeFileSync(join(root, `r${i}.js.gz`), gzipSync(text));
    writeFileSync(join(root, `r${i}.js.br`), brotliCompressSync(text));
  }
  for (let i = 0; i < MANY; i += 1) {
    mkdirSync(join(root, `d${i % 100}`), { recursive: true });
    writeFileSync(join(root, `d${i % 100}`, `${i}.html`), textOf(i, 4096 + ((i * 7919) % 24_576)));
  }
  writeFileSync(join(lists, 'rotation'), ROTATION.map((_, i) => `/r${i}.js\n`).join(''));
  // Far from each other, so that neither a disk nor a cache favours the order.
  const order = Array.from({ length: MANY }, (_, i) => (i * 7919) % MANY);
  writeFileSync(join(lists, 'many'), order.map((i) => `/d${i % 100}/${i}.html\n`).join(''));
}

const WORKS = {
  '16k': () => ({ path: '/16k.html', responseBytes: 16 * 1024 }),
  '1m': () => ({ path: '/1m.html', responseBytes: 1024 ** 2 }),
  rotation: (lists) => ({
    paths: join(lists, 'rotation'),
    fields: ['Accept-Encoding: br;q=1, gzip;q=0.8'],
  }),
  many: (lists) => ({ paths: join(lists, 'many') }),
};

const nginxOf = (root, cache) => (port) =>
  `
  types { text/html html; text/javascript js; }
  sendfile on;
  tcp_nopush on;
  gzip_static on;
  gzip_vary on;
  ${cache}
  server { listen 127.0.0.1:${port} reuseport; root ${root}; }`;

const OPEN_FILE_CACHE = 'open_file_cache max=4096 inactive=60s; open_file_cache_valid 1s;';

const contenders = (root) => ({
  moonring: () =>
    startMoonring(root, {
      subcommand: ['serve'],
      options: values.options.split(' ').filter(Boolean),
    }),
  // With its cache of descriptors, which nginx's documentation recommends, and as installed.
  nginx: () => startNginx(nginxOf(root, OPEN_FILE_CACHE)),
  'nginx-plain': () => startNginx(nginxOf(root, '')),
});

function print({ work, base, rows }) {
  console.log(`\n${work}, CPU against ${base}`);
  const number = (value, digits) => (value ?? Number.NaN).toFixed(digits).padStart(10);
  for (const row of rows) {
    const { userMicros, systemMicros, cpuMicros, requestsPerSecond, p99Ms } = row;
    console.log(
      row.invalid
        ? `${row.name.padEnd(14)}not valid: ${row.invalid}`
        : row.name.padEnd(14) +
            [userMicros, systemMicros, cpuMicros].map((value) => number(value, 2)).join('') +
            ` µs ${(row.ratio ? spread(row.ratio) : '').padStart(18)} ×` +
            `${number(requestsPerSecond, 0)} req/s p99${number(p99Ms, 3)} ms`,
    );
  }
}

await runMain(async () => {
  requirePrograms('wrk', 'nginx');
  const directory = mkdtempSync(join(tmpdir(), 'moonring-files-'));
  const root = join(directory, 'root');
  mkdirSync(root);
  const all = contenders(root);
  const servers = [];
  try {
    makeFiles(root, directory);
    for (const name of choose(values.only, Object.keys(all)))
      servers.push({ name, ...(await all[name]()) });
    for (const work of choose(values.work, Object.keys(WORKS))) {
      const load = { connections: Number(values.connections), ...WORKS[work](directory) };
      const results = new Map(servers.map(({ name }) => [name, []]));
      const run = async (server, seconds) => measureWrk(server, { ...load, seconds });
      for (const server of servers) await run(server, 1);
      for (let round = 0; round < Number(values.rounds); round += 1) {
        for (const server of inTurn(servers, round))
          results.get(server.name).push(await run(server, Number(values.seconds)));
      }
      const base = results.has(values.base) ? values.base : servers[0].name;
      const rows = servers.map(({ name }) => summarise(name, results.get(name), results.get(base)));
      if (values.json) console.log(JSON.stringify({ work, base, rows }));
      else print({ work, base, rows });
    }
  } finally {
    await Promise.all(servers.map((each) => each.stop()));
    rmSync(directory, { recursive: true });
  }
});
