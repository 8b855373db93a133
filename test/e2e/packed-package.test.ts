import { execFile } from 'node:child_process';
import { mkdirSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { publint } from 'publint';
import t from 'tap';
import { packageRoot } from '../../src/shared/package-info.js';

const run = promisify(execFile);
const DEPENDENCIES = ['commander', 'pino', 'pino-pretty'];

const PROGRAM = `import { createServer, MoonringError, type ReadyFields, version } from 'moonring';

const server = createServer({ port: 0, processes: 1, admin: 'off', logLevel: 'off' });
export function neverCalled() {
  // @ts-expect-error: no such option
  createServer({ prot: 1 });
  // @ts-expect-error: a strategy is one of three
  createServer({ accept: 'maybe' });
}
server.on('reloaded', ({ generation }) => generation.toFixed());
const ready: ReadyFields = await server.start();
const answer = await fetch(ready.address);
await server.drain();
console.log(answer.status, version, MoonringError.name);
`;

const TSCONFIG = {
  compilerOptions: { module: 'nodenext', target: 'es2023', strict: true, types: ['node'] },
  files: ['program.ts'],
};

t.test('the tarball works in an empty project', async (t) => {
  const directory = t.testdir({
    'package.json': '{"type":"module"}',
    'program.ts': PROGRAM,
    'tsconfig.json': JSON.stringify(TSCONFIG),
  });
  const npm = ['pack', '--json', '--ignore-scripts', '--pack-destination', directory];
  const packed: unknown = JSON.parse((await run('npm', npm, { cwd: packageRoot })).stdout);
  const name = (Array.isArray(packed) ? packed[0]?.filename : undefined) ?? '';
  const installed = join(directory, 'node_modules', 'moonring');
  mkdirSync(installed, { recursive: true });
  await run('tar', ['-xzf', join(directory, name), '-C', installed, '--strip-components=1']);
  const { messages } = await publint({ pkgDir: installed, pack: false, strict: true });
  t.strictSame(messages, [], 'every entry is there and is what it says');
  // What npm would fetch, and the addon that the package's build makes.
  for (const dependency of [...DEPENDENCIES, '@types']) {
    const target = join(packageRoot, 'node_modules', dependency);
    symlinkSync(target, join(directory, 'node_modules', dependency));
  }
  symlinkSync(join(packageRoot, 'build'), join(installed, 'build'));

  const tsc = join(packageRoot, 'node_modules', 'typescript', 'bin', 'tsc');
  await run(process.execPath, [tsc, '-p', directory]);
  const env = { ...process.env, NODE_OPTIONS: '' };
  const program = await run(process.execPath, ['program.js'], { cwd: directory, env });
  t.match(program.stdout, /^200 \d+\.\d+\.\d+ MoonringError\n$/);

  const bin = await run(process.execPath, [join(installed, 'dist', 'master.js'), '--version'], {
    env,
  });
  t.match(bin.stdout, /^moonring \d/);
  const missing = `await import('moonring/dist/master.js').catch((error) => console.log(error.code))`;
  writeFileSync(join(directory, 'inside.js'), missing);
  const inside = await run(process.execPath, ['inside.js'], { cwd: directory, env });
  t.equal(inside.stdout, 'ERR_PACKAGE_PATH_NOT_EXPORTED\n', 'only what is exported can be used');
});
