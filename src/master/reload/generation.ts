import { fork } from 'node:child_process';
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
import { getPriority, setPriority, constants as system } from 'node:os';
import { dirname, join } from 'node:path';
import { findAddon } from '../../shared/addon-file.js';
import type { Environment, ResolvedConfig } from '../../shared/config.js';
import { MoonringError, messageOf } from '../../shared/errors.js';
import { type CheckOrder, decodeCheckVerdict } from '../../shared/messages.js';
import type { AcceptedHandler, AppSource, NativeAddon, SharedSize } from '../../shared/native.js';
import type { Config } from '../../shared/options.js';
import { packageRoot } from '../../shared/package-info.js';
import { type Certificates, readCertificates } from '../tls/certificates.js';
import { encodeMaterial } from '../tls/material.js';
import { type PathKind, resolveApp } from './app.js';
import { objectsBeside } from './files.js';

/** The inputs of a generation of reactors: a configuration and a checked app. */
export interface Generation {
  readonly resolved: ResolvedConfig;
  readonly app: AppSource;
  /** The accepted files of the app; owned by the caller. -1: reactors load from disk. */
  readonly appFd: number;
  /** Changes with the reactors' program, and with anything that only a new process reloads. */
  readonly build: string;
  /** `null`: TLS is not spoken. */
  readonly certificates: Certificates | null;
  /** What an operator should know about the app. */
  readonly warnings: readonly string[];
}

export interface GenerationInputs {
  readonly native: NativeAddon;
  readonly env: Environment;
  readonly resolved: ResolvedConfig;
  /** Shared memory that the handler finds in a reactor. */
  readonly shared: readonly SharedSize[];
  /** Reactors serve meanwhile. */
  readonly serves?: boolean;
}

/** Checks the inputs of a start or a reload. Throws a MoonringError that says what is wrong. */
export async function prepareGeneration(inputs: GenerationInputs): Promise<Generation> {
  const { native, env, resolved, shared, serves = false } = inputs;
  refuseDevInProduction(resolved.config, env);
  const app = appOf(resolved);
  requireAccessLog(resolved.config);
  const certificates = checkedCertificates(native, resolved.config);
  const order = { app, luaRoot: join(packageRoot, 'lua'), shared };
  const { appFd, isWhole } = await checkHandler(native, packageRoot, order, { yields: serves });
  const warnings = [...(certificates?.warnings ?? []), ...warningsAbout(app, appFd >= 0, isWhole)];
  return { resolved, app, appFd, build: currentBuild(env, app), certificates, warnings };
}

/** The configured app. Throws ERR_MOONRING_HANDLER if there is none. */
export function appOf({ config }: ResolvedConfig): AppSource {
  return withCompat(resolveApp(config.app, packageRoot, kindOf), config);
}

/** What it shows is not for clients of a service. */
function refuseDevInProduction({ dev }: Config, env: Environment): void {
  if (!dev || env['NODE_ENV'] !== 'production') return;
  const message =
    'dev: responses to errors would show source code and requests to clients, and NODE_ENV is production';
  throw new MoonringError('ERR_MOONRING_CONFIG', message);
}

/** With the API that `--compat` names; an app in C has no use for one. */
function withCompat(app: AppSource, { compat }: Config): AppSource {
  return app.kind === 'lua' && compat === 'ngx' ? { ...app, compat } : app;
}

/** Read and tried as in a reactor: otherwise a bad one would end every reactor. */
function checkedCertificates(
  native: Pick<NativeAddon, 'checkCertificates'>,
  config: Config,
): Certificates | null {
  const certificates = readCertificates(config, Date.now());
  if (certificates === null) return null;
  const problem = native.checkCertificates(encodeMaterial(certificates, []));
  if (problem === null) return certificates;
  const { tlsCert, tlsOcsp } = config;
  const files = [...tlsCert, ...tlsOcsp].join(', ');
  const message = `cannot use ${files} for TLS: ${problem}`;
  throw new MoonringError('ERR_MOONRING_CONFIG', message);
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

/** The reactors' program as installed now: changes with an installation or a build. */
function currentBuild(env: Environment, app: AppSource): string {
  const paths = [
    join(packageRoot, 'dist', 'reactor.js'),
    findAddon(packageRoot, env['MOONRING_ADDON']).path ?? '',
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
 * Checked by opening, because access checks always pass for root. A missing file is not created: a
 * check may run as another user. A FIFO is not opened, since that would wait for its reader.
 */
export function requireWritable(path: string): void {
  if (!existsSync(path)) accessSync(`${dirname(path)}/.`, constants.W_OK);
  else if (statSync(path).isFIFO()) accessSync(path, constants.W_OK);
  else closeSync(openSync(path, constants.O_WRONLY | constants.O_APPEND | constants.O_NOCTTY));
}

/**
 * More than any handler needs unless it waits for something. Time that the checker has spent waiting
 * for a processor does not count, up to as much again: then its own alarm ends it.
 */
const TIMEOUT_MS = 15_000;

/** Added to the master's: serving reactors have priority. */
const CHECKER_NICE = 5;

/** What the checker loaded. */
type Accepted = Omit<AcceptedHandler, 'problem'>;

/**
 * Loads the app in a separate process, so that a handler which exits or never returns is only an
 * error here, and takes the files as read by that process. Rejects with ERR_MOONRING_HANDLER, or
 * with ERR_MOONRING_PROTOCOL if the checker has another version.
 */
export function checkHandler(
  native: Pick<NativeAddon, 'socketPair' | 'receiveDescriptor' | 'closeDescriptor'>,
  packageRoot: string,
  order: CheckOrder,
  { timeoutMs = TIMEOUT_MS, yields = false } = {},
): Promise<Accepted> {
  const [pair, pairInChild] = native.socketPair();
  const child = fork(join(packageRoot, 'dist', 'checker.js'), [JSON.stringify(order)], {
    stdio: ['ignore', 'ignore', 'ignore', 'ipc', pairInChild],
    execArgv: [],
  });
  native.closeDescriptor(pairInChild);
  if (yields) yieldProcessor(child.pid);
  const { path } = order.app;
  const end = () => child.kill('SIGKILL');
  process.once('exit', end);
  return new Promise((resolve, reject) => {
    /** Without a verdict the process ended on its own. */
    let verdict: MoonringError | Accepted | null = null;
    const fail = (message: string) => {
      verdict ??= new MoonringError('ERR_MOONRING_HANDLER', message);
    };
    const begunMs = performance.now();
    const onLate = () => {
      const ranMs = performance.now() - begunMs;
      const dueMs = timeoutMs + Math.min(timeoutMs, queuedMsOf(child.pid));
      if (ranMs < dueMs) {
        late = setTimeout(onLate, dueMs - ranMs);
        return;
      }
      fail(`${path} did not finish loading within ${timeoutMs / 1000} s`);
      end();
    };
    let late = setTimeout(onLate, timeoutMs);
    child.on('message', (value: unknown) => {
      try {
        const { problem, isKept, isWhole } = decodeCheckVerdict(value);
        const appFd = isKept ? native.receiveDescriptor(pair) : -1;
        if (problem === null) verdict ??= { appFd, isWhole };
        else fail(problem);
      } catch (cause) {
        const message = `the checker is from another version (${messageOf(cause)}): build and restart`;
        verdict ??= new MoonringError('ERR_MOONRING_PROTOCOL', message, { cause });
        end();
      }
    });
    child.on('error', (error) => fail(`the handler could not be checked: ${error.message}`));
    child.on('close', (code, signal) => {
      clearTimeout(late);
      process.off('exit', end);
      native.closeDescriptor(pair);
      fail(`${path} terminated the process that loaded it (${signal ?? `exit code ${code}`})`);
      if (verdict === null || verdict instanceof MoonringError) reject(verdict);
      else resolve(verdict);
    });
  });
}

/** How long the process has been ready to run and had to wait for a processor; 0 if that is unknown. */
function queuedMsOf(pid: number | undefined): number {
  try {
    const [, queuedNs = '0'] = readFileSync(`/proc/${pid}/schedstat`, 'latin1').split(' ');
    return Number(queuedNs) / 1e6;
  } catch {
    return 0;
  }
}

function yieldProcessor(pid: number | undefined): void {
  if (pid === undefined) return;
  try {
    setPriority(pid, Math.min(system.priority.PRIORITY_LOW, getPriority() + CHECKER_NICE));
  } catch {
    // It has already ended, or the system does not allow it.
  }
}
