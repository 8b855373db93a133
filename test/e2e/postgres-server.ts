import { type ChildProcess, execFile, execFileSync } from 'node:child_process';
import { once } from 'node:events';
import {
  chmodSync,
  chownSync,
  copyFileSync,
  existsSync,
  mkdtempSync,
  readdirSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Test } from 'tap';
import { lastWordsOf, type Program, startProgram } from './program.js';
import type { ServerOutput } from './server-output.js';

/** The directory of the newest PostgreSQL's programs: Debian does not put them on the PATH. */
export const postgresPrograms = findPrograms();
const BOUNCERS = ['/usr/sbin/pgbouncer', '/usr/local/bin/pgbouncer', '/opt/homebrew/bin/pgbouncer'];
export const bouncerProgram = BOUNCERS.find((path) => existsSync(path));

/** Neither initdb, postgres nor pgbouncer runs as root. */
const NOBODY = 65534;
const user = process.getuid?.() === 0 ? { uid: NOBODY, gid: NOBODY } : {};
export const PASSWORD = 'secret';

function findPrograms(): string | undefined {
  const root = '/usr/lib/postgresql';
  const versions = existsSync(root) ? readdirSync(root) : [];
  const folders = versions
    .sort((a, b) => Number(b) - Number(a))
    .map((version) => join(root, version, 'bin'))
    .concat(['/usr/local/bin', '/opt/homebrew/bin']);
  return folders.find((folder) => existsSync(join(folder, 'initdb')));
}

export interface Postgres {
  /** TCP on 127.0.0.1. */
  readonly port: number;
  /** The directory of its Unix socket. */
  readonly directory: string;
  /** The URL of a user, by default over the Unix socket. */
  readonly url: (options?: { user?: string; tcp?: boolean; query?: string }) => string;
  /** The output of psql for a command, unformatted; as the superuser. */
  readonly psql: (sql: string) => Promise<string>;
  readonly pid: () => number;
  readonly kill: (signal: NodeJS.Signals) => void;
  readonly exited: () => Promise<unknown>;
  /** Starts it again and waits until it accepts connections. */
  readonly start: () => Promise<void>;
}

/** It is restarted when it exits, as by a service manager: version 1.18 has crashed in tests. */
export interface Bouncer {
  /** A URL over its Unix socket. */
  readonly url: string;
  readonly kill: (signal: NodeJS.Signals) => void;
  /** Resolves when it runs again after `kill('SIGKILL')`. */
  readonly restarted: () => Promise<void>;
  /** How it exited by itself, each time. */
  readonly crashes: readonly string[];
}

export interface PostgresOptions {
  /** Files with a key and a certificate. */
  readonly tls?: { readonly key: string; readonly cert: string };
}

function freePort(): Promise<number> {
  return new Promise((resolve, reject) => {
    const probe = createServer();
    probe.once('error', reject);
    probe.listen(0, '127.0.0.1', () => {
      const address = probe.address();
      probe.close(() => resolve(typeof address === 'object' ? (address?.port ?? 0) : 0));
    });
  });
}

/** A directory that the user of the server owns. */
function ownDirectory(t: Test): string {
  const directory = mkdtempSync(join(tmpdir(), 'moonring-pg-'));
  if (user.uid !== undefined) chownSync(directory, NOBODY, NOBODY);
  t.teardown(() => rmSync(directory, { recursive: true, force: true }));
  return directory;
}

async function stop(child: ChildProcess | undefined, signal: NodeJS.Signals) {
  if (!child || child.exitCode !== null || child.signalCode !== null) return;
  child.kill('SIGCONT');
  child.kill(signal);
  const late = setTimeout(() => child.kill('SIGKILL'), 10_000);
  await once(child, 'exit');
  clearTimeout(late);
}

const HBA = `
local all moon trust
local all all scram-sha-256
host all md5_user 127.0.0.1/32 md5
host all clear_user 127.0.0.1/32 password
host all all 127.0.0.1/32 scram-sha-256
`;
const SETUP = `
CREATE DATABASE app;
CREATE ROLE app LOGIN PASSWORD '${PASSWORD}';
GRANT ALL ON DATABASE app TO app;
ALTER DATABASE app OWNER TO app;
CREATE ROLE clear_user LOGIN PASSWORD '${PASSWORD}';
SET password_encryption = md5;
CREATE ROLE md5_user LOGIN PASSWORD '${PASSWORD}';
`;

/**
 * A new PostgreSQL with a database \`app\` and users app, md5_user and clear_user, who log in as
 * their names say, all with PASSWORD. It does not sync to disk. The test's end stops it.
 */
export async function startPostgres(t: Test, options: PostgresOptions = {}): Promise<Postgres> {
  const programs = postgresPrograms ?? '';
  const directory = ownDirectory(t);
  const data = join(directory, 'data');
  execFileSync(
    join(programs, 'initdb'),
    ['-D', data, '-U', 'moon', '-A', 'trust', '--no-sync', '-E', 'UTF8', '--locale=C'],
    { ...user, stdio: 'ignore', cwd: directory },
  );
  const settings = [
    "listen_addresses = '127.0.0.1'",
    `unix_socket_directories = '${directory}'`,
    'fsync = off',
    'synchronous_commit = off',
    'full_page_writes = off',
    'shared_buffers = 16MB',
    'max_connections = 50',
    'autovacuum = off',
    'max_wal_senders = 0',
    'wal_level = minimal',
  ];
  if (options.tls) {
    for (const [name, from] of Object.entries(options.tls)) {
      const file = join(directory, `server.${name}`);
      copyFileSync(from, file);
      chmodSync(file, 0o600);
      if (user.uid !== undefined) chownSync(file, NOBODY, NOBODY);
      settings.push(`ssl_${name}_file = '${file}'`);
    }
    settings.push('ssl = on');
  }
  writeFileSync(join(data, 'pg_hba.conf'), HBA);
  let running: Program | undefined;
  const start = async () => {
    running = await startProgram(
      join(programs, 'postgres'),
      ['-D', data],
      (output) => output.text().includes('database system is ready to accept connections'),
      user,
    );
  };
  t.teardown(() => stop(running?.child, 'SIGQUIT'));
  let port = 0;
  for (let tries = 1; running === undefined; tries += 1) {
    port = await freePort();
    const all = [...settings, `port = ${port}`];
    writeFileSync(join(data, 'postgresql.auto.conf'), `${all.join('\n')}\n`);
    await start().catch((error: unknown) => {
      // Another process may have taken the port in the meantime.
      if (tries === 5 || !/Address already in use/.test(String(error))) throw error;
    });
  }

  const psql = (sql: string) =>
    new Promise<string>((resolve, reject) => {
      const args = ['-h', directory, '-p', String(port), '-U', 'moon', '-d', 'app', '-qAtc', sql];
      execFile(join(programs, 'psql'), args, (error, stdout) =>
        error ? reject(error) : resolve(stdout.trim()),
      );
    });
  execFileSync(
    join(programs, 'psql'),
    ['-h', directory, '-p', String(port), '-U', 'moon', '-d', 'postgres', '-q'],
    { input: SETUP, stdio: ['pipe', 'ignore', 'inherit'] },
  );
  return {
    port,
    directory,
    url: ({ user: name = 'app', tcp = false, query = '' } = {}) =>
      tcp
        ? `postgres://${name}:${PASSWORD}@127.0.0.1:${port}/app?${query}`
        : `postgres://${name}:${PASSWORD}@/app?host=${directory}&port=${port}&${query}`,
    psql,
    pid: () => running?.child.pid ?? 0,
    kill: (signal) => running?.child.kill(signal),
    exited: async () => running?.ended,
    start,
  };
}

/** pgbouncer in front of it, which reuses server connections after each transaction. */
export async function startBouncer(t: Test, postgres: Postgres): Promise<Bouncer> {
  const directory = ownDirectory(t);
  const users = join(directory, 'users');
  const file = join(directory, 'ini');
  writeFileSync(users, `"app" "${PASSWORD}"\n`);
  writeFileSync(
    file,
    `[databases]
app = host=${postgres.directory} port=${postgres.port}
[pgbouncer]
listen_addr =
listen_port = 6432
unix_socket_dir = ${directory}
auth_type = scram-sha-256
auth_file = ${users}
pool_mode = transaction
default_pool_size = 4
server_login_retry = 0.1
log_connections = 0
log_disconnections = 0
`,
  );
  let running: Program | undefined;
  let isOver = false;
  const crashes: string[] = [];
  const start = async (): Promise<void> => {
    rmSync(join(directory, '.s.PGSQL.6432'), { force: true });
    const isUp = (output: ServerOutput) => output.text().includes('process up');
    const program = await startProgram(bouncerProgram ?? '', [file], isUp, user);
    running = program;
    restarted = program.ended.then(async () => {
      if (isOver) return;
      if (program.child.signalCode !== 'SIGKILL') crashes.push(lastWordsOf(program));
      await start();
    });
    restarted.catch((error: unknown) => crashes.push(String(error)));
  };
  let restarted: Promise<void> = Promise.resolve();
  t.teardown(async () => {
    isOver = true;
    await stop(running?.child, 'SIGINT');
    await restarted.catch(() => undefined);
    await stop(running?.child, 'SIGINT'); // it was being started
  });
  await start();
  return {
    url: `postgres://app:${PASSWORD}@/app?host=${directory}&port=6432`,
    kill: (signal) => running?.child.kill(signal),
    restarted: () => restarted,
    crashes,
  };
}
