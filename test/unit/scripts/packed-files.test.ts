import { execFile } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { promisify } from 'node:util';
import t from 'tap';
import { packageRoot } from '../../../src/shared/package-info.js';

const run = promisify(execFile);

/** Files started by name in an installed package; the rest of scripts/ is what these import. */
const STARTED = [
  'scripts/build-addon.mjs',
  'scripts/install-system-packages.mjs',
  'scripts/start.mjs',
];
const TOP_FILES = ['CMakeLists.txt', 'CMakePresets.json', 'LICENSE', 'README.md', 'package.json'];
const FOLDERS = [
  'cmake',
  'dist',
  'docs',
  'examples',
  'lua',
  'native',
  'scripts',
  'templates',
  'web',
];

async function packedFiles(): Promise<string[]> {
  const args = ['pack', '--dry-run', '--json', '--ignore-scripts'];
  const packed: unknown = JSON.parse((await run('npm', args, { cwd: packageRoot })).stdout);
  const files: { readonly path: string }[] = Array.isArray(packed) ? packed[0]?.files : [];
  return files.map(({ path }) => path).sort();
}

async function trackedFiles(folder: string): Promise<string[]> {
  const { stdout } = await run('git', ['ls-files', folder], { cwd: packageRoot });
  return stdout.trim().split('\n').sort();
}

/** `path` and all files of the repository that it imports, transitively. */
function withImports(path: string, found = new Set<string>()): Set<string> {
  if (found.has(path) || path.startsWith('dist/')) return found;
  found.add(path);
  const text = readFileSync(join(packageRoot, path), 'utf8');
  for (const [, name = ''] of text.matchAll(/\b(?:from|import\()\s*'(\.[^']+)'/g)) {
    withImports(join(dirname(path), name), found);
  }
  return found;
}

t.test('the tarball has the files needed for a build, and no tests', async (t) => {
  const files = await packedFiles();
  const below = (folder: string) => files.filter((path) => path.startsWith(`${folder}/`));
  t.strictSame(
    files.filter((path) => !path.includes('/')),
    TOP_FILES,
  );
  const folders = new Set(files.filter((path) => path.includes('/')).map((path) => topOf(path)));
  t.strictSame([...folders], FOLDERS);
  for (const folder of ['cmake', 'docs', 'examples', 'lua', 'native', 'templates', 'web']) {
    t.strictSame(below(folder), await trackedFiles(folder), `${folder}: what is tracked`);
  }
  const scripts = new Set(STARTED.flatMap((path) => [...withImports(path)]));
  t.strictSame(below('scripts'), [...scripts].sort(), 'scripts: what is started, and its imports');
  t.ok(files.includes('dist/master.js'), 'JavaScript, because TypeScript is not installed with it');
  t.notOk(files.includes('dist/.stamp'));
});

t.test('no script runs when npm installs the package', async (t) => {
  const { scripts } = JSON.parse(readFileSync(join(packageRoot, 'package.json'), 'utf8'));
  for (const name of ['preinstall', 'install', 'postinstall', 'prepare']) {
    t.notOk(name in scripts, name);
  }
});

function topOf(path: string): string {
  return path.slice(0, path.indexOf('/'));
}
