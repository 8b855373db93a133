import {
  accessSync,
  closeSync,
  constants,
  existsSync,
  openSync,
  readFileSync,
  type Stats,
  statSync,
} from 'node:fs';
import { availableParallelism } from 'node:os';
import { dirname, join } from 'node:path';
import type { Environment, ResolvedConfig } from '../../shared/config.js';
import { EXIT_OK, exitCodeOf, MoonringError, messageOf } from '../../shared/errors.js';
import { loadNative } from '../../shared/native.js';
import type { Config } from '../../shared/options.js';
import { packageRoot, version } from '../../shared/package-info.js';
import type { MasterSignal } from '../../shared/signals.js';
import { type MasterLog, openLog } from '../log/log.js';
import { type PathKind, resolveApp } from '../reload/app.js';
import { checkHandler } from '../reload/handler-check.js';
import { ACTIVATION_VARIABLES, inheritedListeners } from '../runtime/activation.js';
import { type AllocatorChoice, chooseAllocator } from '../runtime/allocator.js';
import { makeNotifier } from '../runtime/notify.js';
import { autoProcesses } from '../runtime/processes.js';
import { type Generation, type MasterInputs, startMaster } from '../runtime/run.js';
import { watchSignals } from '../runtime/signals.js';
import type { Failure } from '../supervisor/state.js';
import { buildAddon } from './addon-build.js';
import { type CommandLine, readCommandLine } from './cli.js';
import { sendOrder } from './control.js';
import { askHealth, healthQuestion } from './health.js';

export interface ProgramInputs {
  readonly argv: readonly string[];
  readonly env: Environment;
  readonly cwd: string;
}

/** The whole program; returns its exit code. A failure is a message on standard error. */
export async function runProgram(inputs: ProgramInputs): Promise<number> {
  let failure: Failure | null;
  try {
    failure = await runAction(inputs);
  } catch (error) {
    if (!(error instanceof MoonringError)) throw error;
    failure = error;
  }
  if (failure === null) return EXIT_OK;
  process.stderr.write(`moonring: ${failure.message}\n`);
  return exitCodeOf(failure.code);
}

async function runAction(inputs: ProgramInputs): Promise<Failure | null> {
  const { env } = inputs;
  const line = readLine(inputs);
  switch (line.action) {
    case 'help':
      process.stdout.write(line.text);
      return null;
    case 'version':
      process.stdout.write(versionText(env));
      return null;
    case 'build':
      await buildAddon(packageRoot);
      return null;
    case 'control': {
      const { order, timeoutMs, resolved } = line;
      const { admin } = resolved.config;
      process.stdout.write(await sendOrder({ order, admin, timeoutMs }));
      return null;
    }
    case 'check': {
      const { app } = await prepare(line.resolved);
      for (const warning of line.resolved.warnings) process.stderr.write(`moonring: ${warning}\n`);
      process.stdout.write(`moonring: configuration and handler are fine (${app.path})\n`);
      return null;
    }
    case 'health': {
      const { healthy, message } = await askHealth(healthQuestion(line.resolved.config));
      if (!healthy) throw new MoonringError('ERR_MOONRING_UNHEALTHY', message);
      process.stdout.write(`moonring: ${message}\n`);
      return null;
    }
    case 'serve':
      return serve(line.resolved, inputs);
  }
}

function readLine({ argv, env, cwd }: ProgramInputs): CommandLine {
  return readCommandLine({ argv, env, cwd, readText: (path) => readFileSync(path, 'utf8') });
}

/** What must be right before anything starts, or is replaced: app and handler. */
async function prepare(resolved: ResolvedConfig): Promise<Generation> {
  const app = resolveApp(resolved.config.app, packageRoot, kindOf);
  const problem = await checkHandler(packageRoot, { app, luaRoot: join(packageRoot, 'lua') });
  if (problem !== null) throw new MoonringError('ERR_MOONRING_HANDLER', problem);
  requireAccessLog(resolved.config);
  return { resolved, app };
}

/** The reactors open it; if they cannot, no other start of theirs could. */
function requireAccessLog({ accessLog, accessLogFile: path }: Config): void {
  if (accessLog === 'off' || path === null) return;
  try {
    requireWritable(path);
  } catch (cause) {
    const sentence = `the access log cannot be written: ${messageOf(cause)}`;
    throw new MoonringError('ERR_MOONRING_CONFIG', sentence, { cause });
  }
}

/**
 * Opened, because root may write anything, a directory too. One that is missing is not made: a
 * check may run as another user. Nor is a pipe opened, which would wait for its reader.
 */
function requireWritable(path: string): void {
  if (!existsSync(path)) accessSync(`${dirname(path)}/.`, constants.W_OK);
  else if (statSync(path).isFIFO()) accessSync(path, constants.W_OK);
  else closeSync(openSync(path, constants.O_WRONLY | constants.O_APPEND | constants.O_NOCTTY));
}

/** Everything but the hooks. */
export async function masterInputs(
  resolved: ResolvedConfig,
  env: Environment,
  reread: () => ResolvedConfig,
): Promise<Omit<MasterInputs, 'hooks'>> {
  const { config } = resolved;
  const native = loadNative(packageRoot, env['MOONRING_ADDON']);
  const first = await prepare(resolved);
  const terminal = process.stdout.isTTY ? { colour: !env['NO_COLOR'] } : null;
  const log = openLog(native, { level: config.logLevel, file: config.logFile, terminal });
  const { platform, arch } = process;
  const wanted = config.allocator;
  const allocator = chooseAllocator({ wanted, platform, arch, env, exists: existsSync });
  for (const warning of resolved.warnings) log.log('warn', {}, warning);
  logAllocator(log, allocator);
  const processes =
    config.processes === 'auto'
      ? autoProcesses(availableParallelism(), readText)
      : config.processes;
  return {
    first,
    prepare: async () => prepare(reread()),
    processes,
    packageRoot,
    native,
    allocator,
    log,
    inheritedFds: [],
  };
}

/** Until a signal, an order or an error ends it. */
async function serve(resolved: ResolvedConfig, inputs: ProgramInputs): Promise<Failure | null> {
  const { env } = inputs;
  // From the first moment on: Node would end at SIGHUP and open its inspector at SIGUSR1.
  const deliver = heldSignals();
  const reread = () => {
    const line = readLine(inputs);
    if (line.action !== 'serve') throw new TypeError('the command line has changed');
    return line.resolved;
  };
  const common = await masterInputs(resolved, env, reread);
  const { log, announce } = common.log;
  const notify = makeNotifier(common.native, env['NOTIFY_SOCKET'], log);
  const inheritedFds = inheritedListeners(env, process.pid);
  // Meant for this process, not for its children.
  for (const name of [...ACTIVATION_VARIABLES, 'NOTIFY_SOCKET']) delete process.env[name];
  const master = await startMaster({
    ...common,
    inheritedFds,
    hooks: {
      onReady: (ready) => {
        announce({ ...ready }, 'ready');
        notify('READY=1');
        process.send?.('ready');
      },
      onStopping: () => notify('STOPPING=1'),
      onReloaded: () => {},
      onExited: () => {},
    },
  });
  deliver(master.signal);
  return master.ended;
}

/** Takes signals now, and gives them to whoever is named later. */
function heldSignals(): (onSignal: (signal: MasterSignal) => void) => void {
  let give: (onSignal: (signal: MasterSignal) => void) => void = () => {};
  const taker = new Promise<(signal: MasterSignal) => void>((resolve) => {
    give = resolve;
  });
  watchSignals((signal) => void taker.then((onSignal) => onSignal(signal)));
  return give;
}

function logAllocator({ log }: MasterLog, choice: AllocatorChoice): void {
  if (choice.type === 'jemalloc') {
    log('debug', { path: choice.path }, 'reactors use jemalloc');
    return;
  }
  const level = choice.unexpected ? 'warn' : 'debug';
  log(level, { reason: choice.reason }, 'reactors use the system allocator');
}

function versionText(env: Environment): string {
  const lines = [`moonring ${version}`];
  try {
    const native = loadNative(packageRoot, env['MOONRING_ADDON']);
    lines.push(`llhttp ${native.llhttpVersion}`, `luajit ${native.luajitVersion}`);
  } catch (error) {
    lines.push(`native addon: ${messageOf(error)}`);
  }
  lines.push(`node ${process.versions.node}`);
  return `${lines.join('\n')}\n`;
}

/** What cannot be looked at (a name too long, a link to itself) is neither file nor directory. */
function kindOf(path: string): PathKind {
  let stats: Stats | undefined;
  try {
    stats = statSync(path, { throwIfNoEntry: false });
  } catch {
    return 'other';
  }
  if (stats === undefined) return 'missing';
  if (stats.isFile()) return 'file';
  return stats.isDirectory() ? 'directory' : 'other';
}

function readText(path: string): string | null {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return null;
  }
}
