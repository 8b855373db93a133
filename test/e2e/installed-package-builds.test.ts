import { type ChildProcess, type ExecFileException, execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { packAddon } from '../../scripts/packages/pack.mjs';
import { targets } from '../../scripts/packages/targets.mjs';
import { platformSuffix } from '../../src/shared/addon-file.js';
import { packageRoot } from '../../src/shared/package-info.js';
import { collectOutput } from './server-output.js';
import { within } from './until.js';

/*
 * The steps of docs/getting-started.md for a project, word for word. npm asks its registry for the
 * dependencies of the package's dependencies, and takes them from its cache.
 */

const APP = "function handle(req, res) res:body('from the package\\n'):send() end\n";

interface Result {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** As in a user's shell: npm sets variables for its scripts about the project that runs them. */
function environment(): NodeJS.ProcessEnv {
  const { npm_config_local_prefix: _, MOONRING_ADDON: __, ...env } = process.env;
  return { ...env, NODE_OPTIONS: '' };
}

function run(directory: string, command: string): Promise<Result> {
  const [program = '', ...args] = command.split(' ');
  return new Promise((resolve) => {
    const done = (error: ExecFileException | null, stdout: string, stderr: string) =>
      resolve({ code: error === null ? 0 : Number(error.code), stdout, stderr });
    execFile(program, args, { cwd: directory, env: environment() }, done);
  });
}

/** The slow part, most of a minute; the other tests use the optimised addon. */
function withoutOptimisation(installed: string): void {
  const path = join(installed, 'CMakePresets.json');
  const presets = readFileSync(path, 'utf8');
  const plain = presets.replace('"MOONRING_LTO": "ON"', '"MOONRING_LTO": "OFF"');
  writeFileSync(path, plain.replaceAll('"RelWithDebInfo"', '"Debug"'));
}

/** In a directory outside of any other project. */
function emptyDirectory(t: Test): string {
  const directory = mkdtempSync(join(tmpdir(), 'moonring-project-'));
  t.teardown(() => rmSync(directory, { recursive: true }));
  return directory;
}

async function serve(t: Test, directory: string): Promise<[ChildProcess, string]> {
  const args = ['--port', '0', '--processes', '1', '--admin', 'off', 'app.lua'];
  const child = spawn(join(directory, 'node_modules/.bin/moonring'), args, {
    cwd: directory,
    env: environment(),
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  t.teardown(() => child.kill('SIGKILL'));
  const ready = await collectOutput(child).line('ready', ({ msg }) => msg === 'ready');
  return [child, String(ready['address'])];
}

t.test('npm install, npx moonring build, npx moonring app.lua', async (t) => {
  const directory = emptyDirectory(t);
  const packed = await run(packageRoot, `npm pack --pack-destination ${directory}`);
  t.equal(packed.code, 0, 'npm pack', { output: packed.stderr });
  const [tarball = ''] = readdirSync(directory);
  const options = '--omit=dev --prefer-offline --no-audit --no-fund';
  const installing = await run(directory, `npm install ./${tarball} ${options}`);
  t.equal(installing.code, 0, 'npm install', { output: installing.stderr });
  writeFileSync(join(directory, 'app.lua'), APP);
  const installed = join(directory, 'node_modules', 'moonring');

  const early = await run(directory, 'npx moonring --admin off --port 0 app.lua');
  t.equal(early.code, 1);
  t.match(
    early.stderr,
    /^moonring: there is no native addon for .*; or .* "npx moonring build"\n$/,
  );

  writeFileSync(join(installed, 'build'), '');
  const blocked = await run(directory, 'npx moonring build');
  t.equal(blocked.code, 1);
  t.match(blocked.stderr, /build\/release, which cannot be written/);
  t.match(blocked.stderr, /\nmoonring: the native addon was not built: see the lines above\n$/);
  rmSync(join(installed, 'build'));

  withoutOptimisation(installed);
  const first = await run(directory, 'npx moonring build');
  t.equal(first.code, 0, 'the first build', { output: first.stderr });
  t.match(first.stderr, /building the native release preset/);
  t.match(first.stderr, /the native addon is built: .*node_modules\/moonring\/build\/release/);
  t.notOk(readdirSync(join(installed, 'build', 'release')).includes('test'), 'no tests');
  const second = await run(directory, 'npx moonring build');
  t.equal(second.code, 0);
  t.match(second.stderr, /^moonring: the native addon is built: .*\n$/, 'nothing to do');

  await respondsAndDrains(t, directory);

  const platform = await packPlatform(t, join(installed, 'build', 'release', 'moonring.node'));
  rmSync(join(installed, 'build'), { recursive: true });
  const added = await run(directory, `npm install ${platform} ${options}`);
  t.equal(added.code, 0, 'the platform package', { output: added.stderr });
  await respondsAndDrains(t, directory);
});

async function respondsAndDrains(t: Test, directory: string): Promise<void> {
  const [child, address] = await serve(t, directory);
  const answer = await fetch(address);
  t.equal(answer.status, 200);
  t.equal(await answer.text(), 'from the package\n');
  const exited = once(child, 'exit');
  child.kill('SIGTERM');
  t.strictSame(await within('the exit after TERM', exited), [0, null]);
}

/** As `npm run packages` builds it, around an addon built for this machine only. */
async function packPlatform(t: Test, addon: string): Promise<string> {
  const suffix = platformSuffix();
  const target = targets[suffix];
  if (target === undefined) throw new Error(`no package is made for ${suffix}`);
  return packAddon(suffix, target, addon, { directory: emptyDirectory(t) });
}
