// Starting and stopping what a benchmark runs: the C helpers (built on demand) and servers.
import { execFileSync, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { availableParallelism } from 'node:os';
import { dirname, join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';

export const ROOT = dirname(dirname(dirname(fileURLToPath(import.meta.url))));
export const BENCH = join(ROOT, 'bench');
export const BUILD = join(ROOT, 'build', 'bench');

const SERVER_CORE = 0;
const LOAD_CORE = 1;
const STOP_TIMEOUT_MS = 5000;

/** Whether a program of this name is on the PATH. */
export function hasProgram(name) {
  return spawnSync('sh', ['-c', `command -v ${name}`], { stdio: 'ignore' }).status === 0;
}

/** Compiles the C helpers if needed and returns where they are. */
export function buildHelpers() {
  const options = { stdio: ['ignore', 'ignore', 'inherit'] };
  execFileSync('cmake', ['-S', BENCH, '-B', BUILD], options);
  execFileSync('cmake', ['--build', BUILD], options);
  return {
    raw: join(BUILD, 'bench_raw'),
    helloC: join(BUILD, 'bench_hello_c.so'),
    mixed: join(BUILD, 'bench_mixed'),
    paced: join(BUILD, 'bench_paced'),
    stepCount: join(BUILD, 'bench_step_count'),
    mallocCount: join(BUILD, 'bench_malloc_count.so'),
  };
}

/** Pinning needs two cores and taskset; without them the figures mix server and load. */
export function canPin() {
  return hasProgram('taskset') && availableParallelism() > 1;
}

function pinned(core, command, args) {
  return canPin() ? ['taskset', ['-c', String(core), command, ...args]] : [command, args];
}

/** A command line that runs on the core of the load. */
export function pinnedToLoad(command, args) {
  return pinned(LOAD_CORE, command, args);
}

// A server must not inherit what changes how Node runs it.
function cleanEnvironment(extra) {
  const environment = { ...process.env, ...extra };
  delete environment.NODE_OPTIONS;
  return environment;
}

/**
 * Starts a server pinned to its core (`cores: 'all'`: free to use every core) and waits until
 * `portOf(line)` finds a port in a line of its standard output. Returns { pid, port, lines, stop }:
 * `lines` emits `line` for each further line, `stop` ends that process and waits for it.
 */
export async function startServer({ command, args, portOf, environment = {}, cores = 'one' }) {
  const [program, programArgs] =
    cores === 'one' ? pinned(SERVER_CORE, command, args) : [command, args];
  const child = spawn(program, programArgs, {
    env: cleanEnvironment(environment),
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const exited = once(child, 'exit');
  const stop = async () => {
    if (child.exitCode !== null || child.signalCode !== null) {
      return;
    }
    child.kill('SIGTERM');
    const force = setTimeout(() => child.kill('SIGKILL'), STOP_TIMEOUT_MS);
    await exited;
    clearTimeout(force);
  };
  const lines = createInterface({ input: child.stdout });
  const port = await new Promise((resolve, reject) => {
    lines.on('line', (line) => {
      const found = portOf(line);
      if (found) {
        resolve(found);
      }
    });
    exited.then(
      ([code, signal]) => reject(new Error(`${command} ended too early: ${code ?? signal}`)),
      reject,
    );
  });
  return { pid: child.pid, port, lines, stop };
}

/** The port in a line that is nothing but a port. */
export function portOfNumber(line) {
  return /^\d+$/.test(line) ? Number(line) : undefined;
}

/** Starts the server of this repository with one reactor and the given app. */
export function startMoonring(app, { environment = {}, options = [], cores = 'one' } = {}) {
  return startServer({
    command: process.execPath,
    args: [
      join(ROOT, 'dist', 'master.js'),
      ...['--port', '0', '--processes', '1', '--admin', 'off', '--log-level', 'warn'],
      ...options,
      app,
    ],
    portOf: portOfReadyLine,
    environment,
    cores,
  });
}

function portOfReadyLine(line) {
  try {
    const message = JSON.parse(line);
    return message.msg === 'ready' ? message.port : undefined;
  } catch {
    return undefined;
  }
}

/** Ends the program with a sentence when one of `names` is missing. */
export function requirePrograms(...names) {
  const missing = names.filter((name) => !hasProgram(name));
  if (missing.length > 0) {
    console.error(`Not installed: ${missing.join(', ')}. See bench/README.md.`);
    process.exit(1);
  }
}
