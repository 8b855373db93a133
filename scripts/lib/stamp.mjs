import { createHash } from 'node:crypto';
import { mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';

import { root } from './root.mjs';

/**
 * A digest of the names, sizes and times of everything under `paths` (files or folders, relative to
 * the root).
 */
export function fingerprint(paths) {
  const hash = createHash('sha256');
  for (const path of paths) addEntry(hash, path);
  return hash.digest('hex');
}

export function readStamp(path) {
  try {
    return readFileSync(join(root, path), 'utf8');
  } catch {
    return '';
  }
}

export function writeStamp(path, text) {
  mkdirSync(dirname(join(root, path)), { recursive: true });
  writeFileSync(join(root, path), text);
}

function addEntry(hash, path) {
  const stat = statSync(join(root, path));
  if (stat.isDirectory()) {
    for (const name of readdirSync(join(root, path)).sort()) addEntry(hash, join(path, name));
  } else {
    hash.update(`${path}\0${stat.size}\0${stat.mtimeMs}\n`);
  }
}
