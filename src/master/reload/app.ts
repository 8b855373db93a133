import { join } from 'node:path';
import { MoonringError } from '../../shared/errors.js';
import type { AppSource } from '../../shared/native.js';

export type PathKind = 'file' | 'directory' | 'other' | 'missing';

const MODULE = /^(?<path>.*\.(so|dylib))(:(?<symbol>[A-Za-z_]\w*))?$/;
const DEFAULT_SYMBOL = 'hs_handler';

/**
 * The handler that an app argument means: a .lua file, a directory with handler.lua, a shared
 * object with the name of its function behind a colon, or without an argument the bundled demo.
 * Throws ERR_MOONRING_HANDLER.
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
      throw handlerError(`the app ${path} does not exist`);
    case 'other':
      throw handlerError(`the app ${path} is neither a file nor a directory that can be read`);
  }
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
