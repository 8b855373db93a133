import { type ChildProcess, type StdioOptions, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import type { Test } from 'tap';
import { childrenOf, isRunning } from './process-table.js';
import { collectOutput, type LogLine } from './server-output.js';
import { PATIENCE_MS, until, within } from './until.js';

const ROOT = fileURLToPath(new URL('../..', import.meta.url));
const MASTER = fileURLToPath(new URL('../../dist/master.js', import.meta.url));
const START_TIMEOUT_MS = 2 * PATIENCE_MS;

export interface Exit {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
}

export interface Server {
  readonly url: string;
  readonly host: string;
  readonly port: number;
  readonly pid: number;
  /** URL of the admin listener. */
  readonly admin: string;
  /** The reactors now running. */
  readonly reactorPids: () => number[];
  /**
   * Lines logged so far. A line may arrive a little after the response that caused it: see
   * `logLine`.
   */
  readonly logs: readonly LogLine[];
  /** Waits for a line for which `matches` is true. */
  readonly logLine: (what: string, matches: (line: LogLine) => boolean) => Promise<LogLine>;
  /** The output so far. */
  readonly stdout: () => string;
  readonly stderr: () => string;
  readonly signal: (signal: NodeJS.Signals) => void;
  readonly exited: Promise<Exit>;
  /** The first message of the server on its IPC channel. */
  readonly firstMessage: Promise<unknown>;
  /** Sends TERM and waits for the exit; kills the process if that takes too long. */
  readonly stop: () => Promise<Exit>;
}

export interface ServerOptions {
  /**
   * File name in test/e2e/apps, or a path relative to the repository root. By default the bundled
   * demo.
   */
  readonly app?: string;
  readonly processes?: number;
  readonly args?: readonly string[];
  /** A subcommand with its arguments, instead of an app. */
  readonly command?: readonly string[];
  /** Do not configure the admin listener. */
  readonly defaultAdmin?: boolean;
  readonly env?: Readonly<Record<string, string>>;
  /** Descriptors of this process passed to the server, as by a service manager. */
  readonly listenFds?: readonly number[];
  /** With an IPC channel to this process. */
  readonly ipc?: boolean;
  /** It leads a process group that all its processes belong to; the id is `pid`. */
  readonly leadsGroup?: boolean;
  /** Limit of open descriptors for each process of the server. */
  readonly descriptors?: number;
  /** Called with the process before it is ready. */
  readonly onStarting?: (child: ChildProcess) => Promise<void>;
}

export interface RunResult extends Exit {
  readonly stdout: string;
  readonly stderr: string;
}

/** The path of an app, as passed to the server. */
export function appPath(app: string): string {
  return app.includes('/') ? app : `test/e2e/apps/${app}`;
}

/**
 * Starts the built server on a port chosen by the system and waits until it is ready. The test's
 * end stops it.
 */
export async function startServer(t: Test, options: ServerOptions = {}): Promise<Server> {
  const { app, processes = 1, args = [], command = [] } = options;
  const admin = options.defaultAdmin === true ? [] : ['--admin', '127.0.0.1:0'];
  const argv = [...command, '--port', '0', '--processes', String(processes), ...admin, ...args];
  const child = spawnMaster(app === undefined ? argv : [...argv, appPath(app)], options);
  const output = collectOutput(child);
  const exited = exitOf(child);
  const firstMessage = new Promise((resolve) => child.once('message', resolve));
  let reactors: number[] = [];
  const end = () => endByForce(child, exited, reactors);
  t.teardown(end);
  await options.onStarting?.(child);

  const ready = await within(
    'the ready line',
    Promise.race([
      output.line('ready', (line) => line.msg === 'ready'),
      exited.then(({ code, signal }) => {
        throw new Error(`the server ended with ${code ?? signal} before it was ready`);
      }),
    ]),
    START_TIMEOUT_MS,
  ).catch((cause: unknown) => {
    throw new Error(`the server did not start:\n${output.text()}`, { cause });
  });

  const pid = child.pid ?? 0;
  const reactorPids = () => {
    reactors = childrenOf(pid);
    return reactors;
  };
  reactorPids();
  return {
    url: String(ready['address']),
    host: String(ready['host']),
    port: Number(ready['port']),
    pid,
    admin: adminUrl(ready['admin']),
    reactorPids,
    logs: output.logs,
    logLine: output.line,
    stdout: output.stdout,
    stderr: output.stderr,
    signal: (signal) => child.kill(signal),
    exited,
    firstMessage,
    stop: async () => {
      child.kill('SIGTERM');
      const exit = await within('the end after SIGTERM', exited);
      refuseSanitizerReports(output.text());
      return exit;
    },
  };
}

function adminUrl(addresses: unknown): string {
  const all: unknown[] = Array.isArray(addresses) ? addresses : [];
  return String(all.find((address) => String(address).startsWith('http://')) ?? '');
}

/** Its TLS port. */
export async function tlsPortOf({ logLine }: Pick<Server, 'logLine'>): Promise<number> {
  const ready = await logLine('ready', (line) => line.msg === 'ready');
  const urls = Array.isArray(ready['addresses']) ? ready['addresses'].map(String) : [];
  const secure = urls.find((each) => each.startsWith('https://'));
  if (secure === undefined) throw new Error(`no https address among ${urls.join(', ')}`);
  return Number(new URL(secure).port);
}

/** Runs the server with exactly these arguments until it exits. */
export async function runMaster(
  args: readonly string[],
  { env = {} }: Pick<ServerOptions, 'env'> = {},
): Promise<RunResult> {
  const child = spawnMaster(args, { env });
  const output = collectOutput(child);
  try {
    await within('the end of the process', once(child, 'close'), START_TIMEOUT_MS);
  } finally {
    child.kill('SIGKILL');
  }
  return { ...(await exitOf(child)), stdout: output.stdout(), stderr: output.stderr() };
}

export function hasProgram(name: string): boolean {
  return spawnSync('sh', ['-c', `command -v ${name}`], { stdio: 'ignore' }).status === 0;
}

function spawnMaster(args: readonly string[], options: ServerOptions = {}): ChildProcess {
  const { listenFds = [], ipc = false, descriptors, leadsGroup: detached = false } = options;
  const env = { ...cleanEnvironment(), ...options.env };
  if (descriptors !== undefined) {
    // The hard limit too: Node raises the soft limit to it.
    const script = `ulimit -n ${descriptors} && exec "$0" "$@"`;
    const stdio: StdioOptions = ['ignore', 'pipe', 'pipe'];
    return spawn('sh', ['-c', script, process.execPath, MASTER, ...args], {
      cwd: ROOT,
      env,
      stdio,
    });
  }
  if (listenFds.length === 0) {
    const stdio: StdioOptions = ['ignore', 'pipe', 'pipe', ...(ipc ? (['ipc'] as const) : [])];
    return spawn(process.execPath, [MASTER, ...args], { cwd: ROOT, env, stdio, detached });
  }
  // The variable names the process that the shell replaces itself with.
  const script = 'LISTEN_PID=$$ exec "$0" "$@"';
  return spawn('sh', ['-c', script, process.execPath, MASTER, ...args], {
    cwd: ROOT,
    env: { ...env, LISTEN_FDS: String(listenFds.length) },
    stdio: ['ignore', 'pipe', 'pipe', ...listenFds],
  });
}

// MOONRING_TEST_PRELOAD is a sanitizer's runtime, which must be loaded first, in the server only.
// The test runner adds loaders to every node it starts, and the operator's settings must not apply
// to the tests.
export function cleanEnvironment(): NodeJS.ProcessEnv {
  const own = /^(NODE_OPTIONS|NODE_V8_COVERAGE|_?TAP.*|PORT|WEB_CONCURRENCY|MOONRING_.*)$/;
  const kept = Object.entries(process.env).filter(
    ([name]) => name === 'MOONRING_ADDON' || !own.test(name),
  );
  const preload = process.env['MOONRING_TEST_PRELOAD'];
  return { ...Object.fromEntries(kept), ...(preload === undefined ? {} : { LD_PRELOAD: preload }) };
}

function exitOf(child: ChildProcess): Promise<Exit> {
  if (child.exitCode !== null || child.signalCode !== null) {
    return Promise.resolve({ code: child.exitCode, signal: child.signalCode });
  }
  return new Promise((resolve) => {
    child.once('exit', (code, signal) => resolve({ code, signal }));
  });
}

function refuseSanitizerReports(text: string): void {
  if (/Sanitizer|runtime error:/.test(text)) throw new Error(`a sanitizer reported:\n${text}`);
}

async function endByForce(
  child: ChildProcess,
  exited: Promise<Exit>,
  reactors: readonly number[],
): Promise<void> {
  if (child.exitCode === null && child.signalCode === null) {
    const pid = child.pid ?? 0;
    child.kill('SIGTERM');
    const ended = await within('the end', exited, 3000).catch(() => undefined);
    if (!ended) {
      const children = childrenOf(pid);
      child.kill('SIGKILL');
      await exited;
      await endPids(children);
      return;
    }
  }
  await endPids(reactors);
}

async function endPids(pids: readonly number[]): Promise<void> {
  for (const pid of pids) {
    try {
      if (isRunning(pid)) process.kill(pid, 'SIGKILL');
    } catch {
      // It has exited in the meantime.
    }
  }
  await until('our reactors are gone', () => !pids.some(isRunning));
}
