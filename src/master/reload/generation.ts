import { fork } from 'node:child_process';
import {
  accessSync,
  closeSync,
  constants,
  existsSync,
  openSync,
  type Stats,
  statSync,
} from 'node:fs';
import { getPriority, setPriority, constants as system } from 'node:os';
import { dirname, join } from 'node:path';
import type { Environment, ResolvedConfig } from '../../shared/config.js';
import { MoonringError, messageOf } from '../../shared/errors.js';
import { type CheckOrder, decodeCheckVerdict } from '../../shared/messages.js';
import {
  type AcceptedHandler,
  type AppSource,
  addonPath,
  type NativeAddon,
} from '../../shared/native.js';
import type { Config } from '../../shared/options.js';
import { packageRoot } from '../../shared/package-info.js';
import { type PathKind, resolveApp } from './app.js';
import { objectsBeside } from './files.js';

/** What a generation of reactors is started with: a configuration and an app that was checked. */
export interface Generation {
  readonly resolved: ResolvedConfig;
  readonly app: AppSource;
  /** The app's files as they were accepted; the caller's. -1: reactors load from the disk. */
  readonly appFd: number;
  /** Differs if the program of the reactors does, or what only a new process loads again. */
  readonly build: string;
  /** What an operator should know about the app. */
  readonly warnings: readonly string[];
}

export interface GenerationInputs {
  readonly native: NativeAddon;
  readonly env: Environment;
  readonly resolved: ResolvedConfig;
}

/** Checks what a start or a reload depends on. Throws a MoonringError that says what is wrong. */
export async function prepareGeneration(inputs: GenerationInputs): Promise<Generation> {
  const { native, env, resolved } = inputs;
  const app = resolveApp(resolved.config.app, packageRoot, kindOf);
  requireAccessLog(resolved.config);
  const order = { app, luaRoot: join(packageRoot, 'lua') };
  const { appFd, isWhole } = await checkHandler(native, packageRoot, order);
  const warnings = warningsAbout(app, appFd >= 0, isWhole);
  return { resolved, app, appFd, build: currentBuild(env, app), warnings };
}

function warningsAbout({ kind, path }: AppSource, isKept: boolean, isWhole: boolean): string[] {
  if (!isWhole)
    return [
      `${dirname(path)} holds more than 64 MiB of Lua files or 100000 entries: only the files that ` +
        'were loaded now are kept, others come from the disk when they are loaded later',
    ];
  // No system but Linux loads objects from memory.
  if (kind === 'lua' || isKept || process.platform !== 'linux') return [];
  return [
    `${path} cannot be loaded from memory (it may need a library beside it): reactors load the ` +
      'file, so replace it by renaming another one to it, never in place',
  ];
}

/** What reactors are started from, as it is now: differs after an installation or a build. */
function currentBuild(env: Environment, app: AppSource): string {
  const paths = [
    join(packageRoot, 'dist', 'reactor.js'),
    addonPath(packageRoot, env['MOONRING_ADDON']),
  ];
  const all = paths.map((path) => statSync(path, { throwIfNoEntry: false }));
  const programs = all.map((each) => each && [each.dev, each.ino, each.size, each.mtimeMs]);
  return JSON.stringify([programs, objectsBeside(app)]);
}

/** A path that cannot be examined (too long, a link to itself) is neither file nor directory. */
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

/** The reactors open it: if they cannot, none of them starts. */
function requireAccessLog({ accessLog, accessLogFile: path }: Config): void {
  if (accessLog === 'off' || path === null) return;
  try {
    requireWritable(path);
  } catch (cause) {
    const message = `the access log cannot be written: ${messageOf(cause)}`;
    throw new MoonringError('ERR_MOONRING_CONFIG', message, { cause });
  }
}

/**
 * Opened, because root may write anything, a directory too. A missing file is not created: a check
 * may run as another user. Nor is a FIFO opened, which would wait for its reader.
 */
function requireWritable(path: string): void {
  if (!existsSync(path)) accessSync(`${dirname(path)}/.`, constants.W_OK);
  else if (statSync(path).isFIFO()) accessSync(path, constants.W_OK);
  else closeSync(openSync(path, constants.O_WRONLY | constants.O_APPEND | constants.O_NOCTTY));
}

/** More than any handler needs that does not wait for something, also on a busy machine. */
const TIMEOUT_MS = 15_000;

/** On top of the master's: reactors that serve meanwhile come first. */
const CHECKER_NICE = 5;

/** What the checker has loaded. */
type Accepted = Omit<AcceptedHandler, 'problem'>;

/**
 * Loads the app in a separate process, so that a handler which ends the process or never returns is
 * only an error here, and takes its files as that process has read them. Rejects with
 * ERR_MOONRING_HANDLER, or with ERR_MOONRING_PROTOCOL if the checker is of another version.
 */
export function checkHandler(
  native: Pick<NativeAddon, 'socketPair' | 'receiveDescriptor' | 'closeDescriptor'>,
  packageRoot: string,
  order: CheckOrder,
  timeoutMs = TIMEOUT_MS,
): Promise<Accepted> {
  const [pair, pairInChild] = native.socketPair();
  const child = fork(join(packageRoot, 'dist', 'checker.js'), [JSON.stringify(order)], {
    stdio: ['ignore', 'ignore', 'ignore', 'ipc', pairInChild],
    execArgv: [],
  });
  native.closeDescriptor(pairInChild);
  yieldProcessor(child.pid);
  const { path } = order.app;
  const end = () => child.kill('SIGKILL');
  process.once('exit', end);
  return new Promise((resolve, reject) => {
    /** Without a verdict the process ended on its own. */
    let verdict: MoonringError | Accepted | null = null;
    const fail = (message: string) => {
      verdict ??= new MoonringError('ERR_MOONRING_HANDLER', message);
    };
    const late = setTimeout(() => {
      fail(`${path} did not finish loading within ${timeoutMs / 1000} s`);
      end();
    }, timeoutMs);
    child.on('message', (value: unknown) => {
      try {
        const { problem, isKept, isWhole } = decodeCheckVerdict(value);
        const appFd = isKept ? native.receiveDescriptor(pair) : -1;
        if (problem === null) verdict ??= { appFd, isWhole };
        else fail(problem);
      } catch (cause) {
        const message = `the checker is of another version (${messageOf(cause)}): build and restart`;
        verdict ??= new MoonringError('ERR_MOONRING_PROTOCOL', message, { cause });
        end();
      }
    });
    child.on('error', (error) => fail(`the handler could not be checked: ${error.message}`));
    child.on('close', (code, signal) => {
      clearTimeout(late);
      process.off('exit', end);
      native.closeDescriptor(pair);
      fail(`${path} ended the process that loaded it (${signal ?? `exit code ${code}`})`);
      if (verdict === null || verdict instanceof MoonringError) reject(verdict);
      else resolve(verdict);
    });
  });
}

function yieldProcessor(pid: number | undefined): void {
  if (pid === undefined) return;
  try {
    setPriority(pid, Math.min(system.priority.PRIORITY_LOW, getPriority() + CHECKER_NICE));
  } catch {
    // It has ended already; or the system does not allow it.
  }
}
