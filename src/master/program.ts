import { existsSync, readFileSync, statSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { join } from 'node:path';
import type { Environment, ResolvedConfig } from '../shared/config.js';
import { EXIT_OK, exitCodeOf, MoonringError, messageOf } from '../shared/errors.js';
import { type AppSource, loadNative, type NativeAddon } from '../shared/native.js';
import { packageRoot, version } from '../shared/package-info.js';
import { type AllocatorChoice, chooseAllocator } from './allocator.js';
import { type PathKind, resolveApp } from './app.js';
import { readCommandLine } from './cli.js';
import { askHealth, type HealthSettings, healthQuestion } from './health.js';
import { type MasterLog, openLog } from './log.js';
import { autoProcesses } from './processes.js';
import { serve } from './run.js';
import type { Failure } from './supervision.js';

export interface ProgramInputs {
  readonly argv: readonly string[];
  readonly env: Environment;
  readonly cwd: string;
}

/** The whole program; returns its exit code. Every failure is one sentence on standard error. */
export async function runProgram(inputs: ProgramInputs): Promise<number> {
  let failure: Failure | null;
  try {
    failure = await runAction(inputs);
  } catch (error) {
    if (!(error instanceof MoonringError)) throw error;
    failure = error;
  }
  if (failure === null) return EXIT_OK;
  // A Lua error may bring a traceback; its first line says it all.
  const [sentence] = failure.message.split('\n');
  process.stderr.write(`moonring: ${sentence}\n`);
  return exitCodeOf(failure.code);
}

async function runAction({ argv, env, cwd }: ProgramInputs): Promise<Failure | null> {
  const line = readCommandLine({ argv, env, cwd, readText: (path) => readFileSync(path, 'utf8') });
  switch (line.action) {
    case 'help':
      process.stdout.write(line.text);
      return null;
    case 'version':
      process.stdout.write(versionText(env));
      return null;
    case 'check': {
      const { app } = prepare(line.resolved, env);
      process.stdout.write(`moonring: configuration and handler are fine (${app.path})\n`);
      return null;
    }
    case 'health': {
      const { healthy, sentence } = await askHealth(healthQuestion(healthSettings(line.resolved)));
      if (!healthy) throw new MoonringError('ERR_MOONRING_UNHEALTHY', sentence);
      process.stdout.write(`moonring: ${sentence}\n`);
      return null;
    }
    case 'serve':
      return startServing(line.resolved, env);
  }
}

function healthSettings({ config }: ResolvedConfig): HealthSettings {
  return { admin: 'off', host: config.host, port: config.port, uds: null };
}

interface Prepared {
  readonly native: NativeAddon;
  readonly app: AppSource;
}

/** What must be right before anything starts: addon, app and handler. */
function prepare({ config }: ResolvedConfig, env: Environment): Prepared {
  const app = resolveApp(config.app, packageRoot, kindOf);
  const native = loadNative(packageRoot, env['MOONRING_ADDON']);
  const problem = native.checkHandler(app, join(packageRoot, 'lua'));
  if (problem !== null) throw new MoonringError('ERR_MOONRING_HANDLER', problem.message);
  return { native, app };
}

async function startServing(resolved: ResolvedConfig, env: Environment): Promise<Failure | null> {
  const { config } = resolved;
  const { native, app } = prepare(resolved, env);
  const log = openLog(config.logLevel);
  const { platform, arch } = process;
  const wanted = config.allocator;
  const allocator = chooseAllocator({ wanted, platform, arch, env, exists: existsSync });
  logAllocator(log, allocator);
  const processes =
    config.processes === 'auto'
      ? autoProcesses(availableParallelism(), readText)
      : config.processes;
  return serve({ resolved, processes, app, packageRoot, native, allocator, log });
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

function kindOf(path: string): PathKind {
  const stats = statSync(path, { throwIfNoEntry: false });
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
