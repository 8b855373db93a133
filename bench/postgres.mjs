// A row selected by primary key from PostgreSQL, as JSON: moonring.postgres and npm's `pg` under
// node:http, in turns. CPU time of the server's processes, without the database.
//
//   npm install --prefix bench/peers --no-package-lock
//   node bench/postgres.mjs [--rounds 6] [--seconds 3] [--connections 32] [--json]
//
// It needs Debian's postgresql and creates a temporary database.
import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { chownSync, existsSync, mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { BENCH, readOptions, requirePrograms, runMain, spread, summarise } from './lib/command.mjs';
import { ask, measureWrk, mustBeValid, runWrk } from './lib/load.mjs';
import { startMoonring, startServer } from './lib/servers.mjs';

const VERSIONS = '/usr/lib/postgresql';
/** Neither initdb nor postgres runs as root. */
const NOBODY = 65534;
const PATH = '/items/42';
const WANTED = '{"id":42,"name":"item 42","price":"42.5"}';
const SETUP = `
CREATE TABLE items (id int PRIMARY KEY, name text NOT NULL, price numeric NOT NULL);
INSERT INTO items SELECT i, 'item ' || i, i + 0.5 FROM generate_series(1, 10000) i;
ANALYZE items;`;

const { values } = readOptions({ rounds: '6', seconds: '3', connections: '32' });

async function startDatabase() {
  const version = existsSync(VERSIONS) ? readdirSync(VERSIONS).sort().at(-1) : undefined;
  if (!version) throw new Error('Not installed: postgresql.');
  const program = (name) => join(VERSIONS, version, 'bin', name);
  const directory = mkdtempSync(join(tmpdir(), 'moonring-bench-pg-'));
  const user = process.getuid() === 0 ? { uid: NOBODY, gid: NOBODY } : {};
  if (user.uid) chownSync(directory, NOBODY, NOBODY);
  const data = join(directory, 'data');
  const quiet = { ...user, cwd: directory, stdio: ['pipe', 'ignore', 'inherit'] };
  execFileSync(program('initdb'), ['-D', data, '-U', 'bench', '-A', 'trust', '--no-sync'], quiet);
  const child = spawn(
    program('postgres'),
    ['-D', data, '-k', directory, '-c', 'listen_addresses=', '-c', 'fsync=off'],
    { ...quiet, stdio: ['ignore', 'ignore', 'pipe'] },
  );
  await new Promise((resolve, reject) => {
    child.stderr.setEncoding('utf8').on('data', (text) => {
      if (text.includes('ready to accept connections')) resolve();
    });
    child.once('exit', () => reject(new Error('postgres has ended.')));
  });
  const psql = ['-h', directory, '-U', 'bench', '-d', 'postgres', '-q'];
  execFileSync(program('psql'), psql, { ...quiet, input: SETUP });
  const stop = async () => {
    child.kill('SIGINT');
    await once(child, 'exit');
    rmSync(directory, { recursive: true });
  };
  return { directory, stop };
}

async function check(server) {
  const { status, body } = await ask(server.port, { path: PATH });
  const sorted = status === 200 ? JSON.stringify(JSON.parse(body), ['id', 'name', 'price']) : body;
  if (sorted !== WANTED) throw new Error(`Another response: ${status} ${body}`);
}

await runMain(async () => {
  requirePrograms('wrk');
  const database = await startDatabase();
  process.env.DATABASE = database.directory;
  const servers = [];
  try {
    const inline = { options: ['--dispatch', 'inline'] };
    const peer = [process.execPath, join(BENCH, 'peers/pg.mjs')];
    const environment = { NODE_ENV: 'production' };
    servers.push({ name: 'pg', server: await startServer(peer, { environment }) });
    servers.push({
      name: 'moonring',
      server: await startMoonring(join(BENCH, 'apps/postgres.lua'), inline),
    });
    const load = { path: PATH, connections: Number(values.connections) };
    const rounds = { pg: [], moonring: [] };
    for (const { server } of servers) {
      await check(server);
      mustBeValid(await runWrk({ port: server.port, ...load, seconds: 2 }));
    }
    for (let round = 0; round < Number(values.rounds); round += 1) {
      const order = round % 2 === 0 ? servers : servers.toReversed();
      for (const { name, server } of order) {
        const result = await measureWrk(server, { ...load, seconds: Number(values.seconds) });
        rounds[name].push(mustBeValid(result));
      }
    }
    const rows = servers.map(({ name }) => summarise(name, rounds[name], rounds.pg));
    if (values.json) console.log(JSON.stringify({ rows }));
    for (const { name, cpuMicros, ratio, requestsPerSecond } of values.json ? [] : rows) {
      console.log(
        `${name.padEnd(10)}${cpuMicros.toFixed(1).padStart(8)} µs of CPU per request, ` +
          `${spread(ratio, 3)} ×, ${requestsPerSecond.toFixed(0)} requests per second`,
      );
    }
  } finally {
    await Promise.all(servers.map(({ server }) => server.stop()));
    await database.stop();
  }
});
