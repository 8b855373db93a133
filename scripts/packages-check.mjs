/*
 * The platform packages as users get them: chosen by npm, pnpm and Yarn, installed and used on
 * machines without a compiler, and used by `npm start` in a clone there. It builds missing
 * packages.
 *
 *     node scripts/packages-check.mjs [linux-x64-gnu] [linux-x64-musl] [...] [managers] [clone] [again]
 */
import { spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import {
  appendFileSync,
  cpSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';

import { expect, runChecks, until } from './lib/checks.mjs';
import { packagesDirectory, sourceHash } from './lib/prebuilt.mjs';
import { capture, must, mustWithRetry } from './lib/run-command.mjs';
import { machineFor, startInside } from './packages/machines.mjs';
import { startRegistry } from './packages/registry.mjs';
import { workDirectory } from './packages/sources.mjs';
import { targets } from './packages/targets.mjs';

const runnable = Object.keys(targets).filter((name) => targets[name].os === 'linux');
/** The last versions that run on Node 20. Yarn's two major versions share only a name. */
const managers = { pnpm: 'pnpm@9.15.9', yarn1: 'yarn@1.22.22', yarn4: '@yarnpkg/cli-dist@4.9.2' };
const handler = `local json = require 'moonring.json'
function handle(req, res)
  if req.path == '/loop' then local i = 0; while true do i = i + 1 end end
  if req.path == '/memory' then local t = {}; for i = 1, 1e9 do t[i] = ('x'):rep(9999) .. i end end
  if req.path == '/crash' then require('ffi').cast('int *', 8)[0] = 1 end
  json.send(res, { path = json.decode(json.encode(req.path)) })
end
`;
const options = [
  '--port',
  '0',
  '--processes',
  '1',
  '--handler-timeout',
  '1s',
  '--lua-memory',
  '32m',
];
const quiet = ['--no-audit', '--no-fund', '--no-progress'];

await runChecks(async (check) => {
  const chosen = process.argv.slice(2);
  const isChosen = (name) => chosen.length === 0 || chosen.includes(name);
  const names = runnable.filter(isChosen);
  const needed = names.length > 0 ? names : ['linux-x64-gnu'];
  const stale = needed.filter((name) => !isFresh(name));
  if (stale.length > 0 || !existsSync(mainTarball()))
    await must(process.execPath, ['scripts/packages/build.mjs', ...stale]);
  const registry = await startRegistry();
  try {
    if (isChosen('managers')) {
      await check('npm installs the package of this machine', () => withNpm(registry));
      for (const name of Object.keys(managers))
        await check(`${name} installs a package that serves`, () => withManager(name, registry));
    }
    for (const name of names)
      await check(`${name}: installed and served without a compiler`, () =>
        serveInside(name, registry),
      );
    if (isChosen('clone'))
      await check('npm start in a clone takes the package made from its sources', () =>
        startClone('linux-x64-gnu', registry),
      );
  } finally {
    registry.close();
  }
  if (isChosen('again'))
    await check('linux-x64-gnu: built again, the tarball is the same', buildAgain);
});

function isFresh(name) {
  const manifest = join(packagesDirectory, name, 'package.json');
  return (
    existsSync(manifest) &&
    JSON.parse(readFileSync(manifest, 'utf8')).moonring.sources === sourceHash()
  );
}

function mainTarball() {
  const { version } = JSON.parse(readFileSync('package.json', 'utf8'));
  return join(packagesDirectory, `moonring-${version}.tgz`);
}

/** In a directory outside of any other project. */
function emptyProject(name, registry) {
  const directory = join(tmpdir(), `moonring-packages-${process.pid}`, name);
  rmSync(directory, { recursive: true, force: true });
  mkdirSync(directory, { recursive: true });
  cpSync(mainTarball(), join(directory, 'moonring.tgz'));
  writeFileSync(join(directory, 'package.json'), '{"private":true}\n');
  writeFileSync(join(directory, '.npmrc'), `@moonring:registry=${registry.url}\n`);
  writeFileSync(join(directory, 'app.lua'), handler);
  return directory;
}

async function withNpm(registry) {
  const directory = emptyProject('npm', registry);
  await inProject(directory, ['npm', 'install', './moonring.tgz', ...quiet]);
  const found = readdirSync(join(directory, 'node_modules', '@moonring'));
  expect(found.join() === 'linux-x64-gnu', `npm has installed ${found}`);
  return serves(directory, ['npx', 'moonring']);
}

async function withManager(name, registry) {
  const tools = join(workDirectory, 'managers', name);
  mkdirSync(tools, { recursive: true });
  writeFileSync(join(tools, 'package.json'), '{"private":true}\n');
  await mustWithRetry('npm', [
    'install',
    '--prefix',
    tools,
    '--prefer-offline',
    ...quiet,
    managers[name],
  ]);
  const directory = emptyProject(name, registry);
  const bin = (command) => [process.execPath, join(tools, 'node_modules', command)];
  if (name === 'pnpm') {
    const pnpm = bin('pnpm/bin/pnpm.cjs');
    await inProject(directory, [...pnpm, 'add', './moonring.tgz']);
    return serves(directory, [...pnpm, 'exec', 'moonring']);
  }
  if (name === 'yarn1') {
    const yarn = bin('yarn/bin/yarn.js');
    await inProject(directory, [
      ...yarn,
      'add',
      './moonring.tgz',
      '--no-lockfile',
      '--silent',
      '--ignore-engines',
      // The same version may be a different build than last time.
      '--cache-folder',
      join(directory, 'cache'),
    ]);
    return serves(directory, [...yarn, '--silent', 'run', 'moonring']);
  }
  const yarn = bin('@yarnpkg/cli-dist/bin/yarn.js');
  const npmRegistry = (await must('npm', ['config', 'get', 'registry'])).stdout.trim();
  const certificates = process.env.NODE_EXTRA_CA_CERTS;
  const settings = {
    enableTelemetry: false,
    npmRegistryServer: npmRegistry,
    ...(certificates && { httpsCaFilePath: certificates }),
    npmScopes: { moonring: { npmRegistryServer: registry.url } },
    unsafeHttpWhitelist: ['127.0.0.1'],
    enableGlobalCache: false,
    globalFolder: join(directory, 'global'),
  };
  writeFileSync(join(directory, '.yarnrc.yml'), JSON.stringify(settings));
  writeFileSync(join(directory, 'yarn.lock'), '');
  await inProject(directory, [...yarn, 'add', 'moonring@file:./moonring.tgz']);
  return serves(directory, [...yarn, 'run', 'moonring']);
}

async function inProject(directory, command) {
  const [first, ...rest] = ['env', '-C', directory, 'MOONRING_ADDON=', ...command];
  const result = await capture(first, rest, { timeoutMs: 300_000 });
  expect(result.code === 0, `${command.join(' ')}:\n${result.output}`);
}

async function serves(directory, command) {
  const [first, ...rest] = [...command, ...options, '--admin', 'off', 'app.lua'];
  const child = spawn(first, rest, {
    cwd: directory,
    env: { ...process.env, MOONRING_ADDON: '', NODE_OPTIONS: '' },
    detached: true,
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  return respondsTo(child);
}

/** The server in `child` responds, is interrupted in a compiled loop, and loses no reactor. */
async function respondsTo(
  child,
  { seconds = 60, since = performance.now(), isEmulated = false } = {},
) {
  let output = '';
  for (const stream of [child.stdout, child.stderr])
    stream.setEncoding('utf8').on('data', (chunk) => {
      output += chunk;
    });
  const ended = once(child, 'exit');
  try {
    const ready = await until(
      `a ready line in ${output}`,
      () => {
        if (child.exitCode !== null) throw new Error(`it ended:\n${output}`);
        return /"address":"([^"]+)".*"msg":"ready"/.exec(output);
      },
      seconds,
    ).catch((error) => {
      throw new Error(`${error.message}\n${output}`);
    });
    const get = async (path) => {
      const signal = AbortSignal.timeout(60_000);
      const response = await fetch(new URL(path, ready[1]), { signal }).catch((error) => {
        throw new Error(`GET ${path}: ${error.cause ?? error}\n${output}`);
      });
      return `${response.status} ${await response.text()}`;
    };
    const first = await get('/first');
    const took = performance.now() - since;
    expect(first === '200 {"path":"/first"}', `${first}\n${output}`);
    const memory = await get('/memory');
    expect(memory.startsWith('500 '), `out of memory: ${memory}\n${output}`);
    const loop = await get('/loop');
    expect(/^50[03] /.test(loop), `a loop that does not end: ${loop}\n${output}`);
    // qemu has no robust mutexes: a keeper is not notified of the crash.
    const crash = isEmulated ? '503 ' : await get('/crash');
    expect(crash.startsWith('503 '), `a crash: ${crash}\n${output}`);
    const last = await until('a response after all that', async () =>
      (await get('/last')).startsWith('200 '),
    );
    expect(last, output);
    expect(!/killed|did not end/.test(output.replace(/.*SIGSEGV.*/g, '')), output);
    return `first response after ${(took / 1000).toFixed(1)} s`;
  } finally {
    // npx does not forward signals.
    if (child.exitCode === null) process.kill(-child.pid, 'SIGTERM');
    await ended;
  }
}

/**
 * A machine whose npm is configured for the registries, with an empty project in its home
 * directory.
 */
async function machineWithProject(name, registry) {
  const root = await machineFor(name, targets[name]);
  const home = join(root, 'root');
  for (const entry of readdirSync(home)) rmSync(join(home, entry), { recursive: true });
  cpSync(emptyProject(name, registry), home, { recursive: true });
  const settings = { '@moonring:registry': registry.url, 'prefer-offline': true };
  settings.registry = (await must('npm', ['config', 'get', 'registry'])).stdout.trim();
  const certificates = process.env.NODE_EXTRA_CA_CERTS;
  if (certificates) {
    cpSync(certificates, join(root, 'etc', 'npm-ca.crt'));
    settings.cafile = '/etc/npm-ca.crt';
  }
  const lines = Object.entries(settings).map(([key, value]) => `${key}=${value}\n`);
  writeFileSync(join(home, '.npmrc'), lines.join(''));
  return { root, home };
}

async function serveInside(name, registry) {
  const { root, home } = await machineWithProject(name, registry);
  const install = `npm install ./moonring.tgz ${quiet.join(' ')} --loglevel=error`;
  const isEmulated = targets[name].cpu !== process.arch;
  // Once, to fill npm's cache.
  const first = startInside(root, `${install} && rm -r node_modules package-lock.json`, 'inherit');
  const [code] = await once(first, 'exit');
  expect(code === 0, `npm install inside: code ${code}`);
  const since = performance.now();
  const serve = `exec npx moonring ${options.join(' ')} --admin off app.lua`;
  const child = startInside(root, `${install} && ${serve}`, ['ignore', 'pipe', 'pipe']);
  const note = await respondsTo(child, { seconds: isEmulated ? 600 : 60, since, isEmulated });
  const found = readdirSync(join(home, 'node_modules', '@moonring'));
  expect(found.join() === name, `npm has installed ${found}`);
  return note;
}

/** On a machine where nothing else would work. */
async function startClone(name, registry) {
  const { root, home } = await machineWithProject(name, registry);
  const clone = join(home, 'clone');
  const list = ['ls-files', '-z', '--cached', '--others', '--exclude-standard'];
  const paths = (await must('git', list)).stdout.split('\0').filter((path) => existsSync(path));
  for (const path of paths) cpSync(path, join(clone, path));
  const inPackages = join('packages', name);
  cpSync(inPackages, join(clone, inPackages), { recursive: true });
  const start = () => {
    const line = `cd clone && exec npm start -- ${options.join(' ')} --admin off ../app.lua`;
    return startInside(root, line, ['ignore', 'pipe', 'pipe']);
  };
  try {
    const note = await respondsTo(start(), { seconds: 600 });
    expect(!existsSync(join(clone, 'build')), 'it has built an addon');
    appendFileSync(join(clone, 'CMakeLists.txt'), '# not what the package was made from\n');
    const stale = start();
    stale.stdout.resume();
    const output = await text(stale.stderr);
    expect(output.includes('missing on linux: a C compiler'), `with other sources:\n${output}`);
    return note;
  } finally {
    // Tools that search this tree would take it for a part of it.
    rmSync(clone, { recursive: true });
  }
}

async function buildAgain() {
  const name = 'linux-x64-gnu';
  const tarball = join(
    packagesDirectory,
    readdirSync(packagesDirectory).find((file) => file.startsWith(`moonring-${name}-`)),
  );
  const hash = () => createHash('sha256').update(readFileSync(tarball)).digest('hex');
  const before = hash();
  rmSync(join(workDirectory, 'zig-cache'), { recursive: true, force: true });
  await must(process.execPath, ['scripts/packages/build.mjs', name]);
  expect(hash() === before, `${before} and ${hash()}`);
  return before.slice(0, 16);
}
