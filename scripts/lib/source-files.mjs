import { execFileSync } from 'node:child_process';
import { existsSync, readdirSync } from 'node:fs';
import { join } from 'node:path';

const generated = new Set(['.git', '.tap', 'build', 'dist', 'node_modules']);

/**
 * The files that belong to the tree, relative to `top` and sorted: what git knows or would add, or
 * every file if this is no repository.
 */
export function listFiles(top) {
  const paths = existsSync(join(top, '.git')) ? gitFiles(top) : allFiles(top, '');
  return paths.filter((path) => existsSync(join(top, path))).sort();
}

function gitFiles(top) {
  const list = ['ls-files', '-z', '--cached', '--others', '--exclude-standard'];
  return execFileSync('git', list, { cwd: top, encoding: 'utf8' }).split('\0').filter(Boolean);
}

function allFiles(top, directory) {
  return readdirSync(join(top, directory), { withFileTypes: true }).flatMap((entry) => {
    if (generated.has(entry.name)) return [];
    const path = join(directory, entry.name);
    return entry.isDirectory() ? allFiles(top, path) : [path];
  });
}
