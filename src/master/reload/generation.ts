import {
  accessSync,
  closeSync,
  constants,
  existsSync,
  openSync,
  type Stats,
  statSync,
} from 'node:fs';
import { dirname, join } from 'node:path';
import type { ResolvedConfig } from '../../shared/config.js';
import { MoonringError, messageOf } from '../../shared/errors.js';
import type { AppSource } from '../../shared/native.js';
import type { Config } from '../../shared/options.js';
import { packageRoot } from '../../shared/package-info.js';
import { type PathKind, resolveApp } from './app.js';
import { checkHandler } from './handler-check.js';

/** What a generation of reactors is started with: a configuration and an app that was checked. */
export interface Generation {
  readonly resolved: ResolvedConfig;
  readonly app: AppSource;
}

/** Checks what a start or a reload depends on. Throws a MoonringError that says what is wrong. */
export async function prepareGeneration(resolved: ResolvedConfig): Promise<Generation> {
  const app = resolveApp(resolved.config.app, packageRoot, kindOf);
  await checkHandler(packageRoot, { app, luaRoot: join(packageRoot, 'lua') });
  requireAccessLog(resolved.config);
  return { resolved, app };
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
