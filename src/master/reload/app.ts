import { basename, extname, join } from 'node:path';
import { MoonringError } from '../../shared/errors.js';
import type { AppSource } from '../../shared/native.js';
import { nearest } from '../../shared/suggest.js';

export type PathKind = 'file' | 'directory' | 'other' | 'missing';

const MODULE = /^(?<path>.*\.(so|dylib))(:(?<symbol>[A-Za-z_]\w*))?$/;
const DEFAULT_SYMBOL = 'hs_handler';

/** The commands of the command line: anything else is an app. */
const COMMANDS = ['build', 'init', 'test', 'serve', 'routes', 'completion', 'health', 'ctl', 'top'];

/**
 * The handler named by an app argument: a .lua file, a directory with handler.lua, a shared object
 * with the name of its function after a colon, or without an argument the bundled demo. Throws
 * ERR_MOONRING_HANDLER.
 */
export function resolveApp(
  named: string | null,
  packageRoot: string,
  kindOf: (path: string) => PathKind,
): AppSource {
  const module = named === null ? null : MODULE.exec(named);
  if (module?.groups?.['path'] !== undefined) return resolveModule(module.groups, kindOf);
  const path = named ?? join(packageRoot, 'lua', 'demo.lua');
  switch (kindOf(path)) {
    case 'file':
      if (path.endsWith('.lua')) return { kind: 'lua', path };
      throw handlerError(
        `${path} is not an app: it must be a .lua file, a directory with handler.lua, or a shared object`,
      );
    case 'directory': {
      const handler = join(path, 'handler.lua');
      if (kindOf(handler) === 'file') return { kind: 'lua', path: handler };
      throw handlerError(`the directory ${path} is not an app: it has no handler.lua`);
    }
    case 'missing':
      throw handlerError(`the app ${path} does not exist${commandMeant(path)}`);
    case 'other':
      throw handlerError(`the app ${path} is neither a file nor a directory that can be read`);
  }
}

/** For a path that may be a mistyped command. */
function commandMeant(path: string): string {
  const name = basename(path);
  const meant = extname(name) === '' ? nearest(name, COMMANDS) : null;
  return meant === null ? '' : `, and ${name} is no command: did you mean ${meant}?`;
}

function resolveModule(
  named: Readonly<Record<string, string | undefined>>,
  kindOf: (path: string) => PathKind,
): AppSource {
  const { path = '', symbol = DEFAULT_SYMBOL } = named;
  if (kindOf(path) === 'file') return { kind: 'c', path, symbol };
  throw handlerError(
    `the app ${path} ${kindOf(path) === 'missing' ? 'does not exist' : 'is not a file'}`,
  );
}

function handlerError(message: string): MoonringError {
  return new MoonringError('ERR_MOONRING_HANDLER', message);
}
