import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, relative } from 'node:path';
import type { Environment, ResolvedConfig } from '../../shared/config.js';
import { MoonringError } from '../../shared/errors.js';
import type { NativeAddon } from '../../shared/native.js';
import { prepareGeneration } from '../reload/generation.js';
import { sharedSizes } from '../runtime/shared-memory.js';
import { table } from './table.js';

/** `moonring routes`: the routes of a Lua app, and the positions of their functions. */

/** The variable that tells the process that loads the app where to write (moonring/routes.lua). */
const ROUTES_VARIABLE = 'MOONRING_ROUTES';

interface Route {
  readonly method: string;
  readonly pattern: string;
  readonly file: string;
  readonly line: number;
}

export interface RoutesInputs {
  readonly native: NativeAddon;
  readonly env: Environment;
  readonly resolved: ResolvedConfig;
  readonly cwd: string;
}

/**
 * Loads the app as `--check` does, and returns the lines to print. Throws ERR_MOONRING_HANDLER if it
 * does not load, or is not in Lua.
 */
export async function listRoutes({ native, env, resolved, cwd }: RoutesInputs): Promise<string> {
  const directory = mkdtempSync(join(tmpdir(), 'moonring-routes-'));
  const path = join(directory, 'routes');
  // The process that loads the app inherits it.
  process.env[ROUTES_VARIABLE] = path;
  try {
    const shared = sharedSizes(resolved.config);
    const { app, appFd } = await prepareGeneration({ native, env, resolved, shared });
    if (appFd >= 0) native.closeDescriptor(appFd);
    if (app.kind !== 'lua') {
      const message = `${app.path} is an app in C: only the routes of a Lua router can be listed`;
      throw new MoonringError('ERR_MOONRING_HANDLER', message);
    }
    const lines = readFileSync(path, 'utf8').trimEnd().split('\n');
    const routes = lines.map((line) => JSON.parse(line) as Route);
    return table(
      routes.map(({ method, pattern, file, line }) => [
        method,
        pattern,
        `${shortest(file, cwd)}:${line}`,
      ]),
    );
  } finally {
    delete process.env[ROUTES_VARIABLE];
    rmSync(directory, { recursive: true });
  }
}

function shortest(file: string, cwd: string): string {
  const path = relative(cwd, file);
  return path.startsWith('..') ? file : path;
}
