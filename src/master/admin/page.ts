import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { packageRoot } from '../../shared/package-info.js';

/**
 * The status page for browsers: files of the package, and the functions with which `moonring top`
 * formats its figures. It reads /status, and loads nothing from other servers.
 */
export interface PageFile {
  readonly text: string;
  readonly type: string;
}

const TYPES = {
  html: 'text/html; charset=utf-8',
  css: 'text/css; charset=utf-8',
  js: 'text/javascript; charset=utf-8',
};

const FILES: Readonly<Record<string, { readonly path: string; readonly type: string }>> = {
  '/': { path: 'web/status.html', type: TYPES.html },
  '/status.css': { path: 'web/status.css', type: TYPES.css },
  '/status.js': { path: 'web/status.js', type: TYPES.js },
  '/figures.js': { path: 'dist/master/top/figures.js', type: TYPES.js },
};

/** For every response of the admin listener: some contain client data. */
export const PAGE_FIELDS = {
  'Content-Security-Policy':
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
  'X-Content-Type-Options': 'nosniff',
};

/** `null` for a path that is not part of the page. Throws an Error if the package is incomplete. */
export function pageFile(path: string): PageFile | null {
  const file = Object.hasOwn(FILES, path) ? FILES[path] : undefined;
  if (file === undefined) return null;
  return { text: readFileSync(join(packageRoot, file.path), 'utf8'), type: file.type };
}
