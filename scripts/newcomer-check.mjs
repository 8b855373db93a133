/*
 * Follows README.md on fresh machines: Debian 12 and Debian 13 with Node, npm, git and curl, a
 * fresh clone of the current commit, and its two commands, as root and as a user without root. The
 * second start has no network and nothing to do. Uses docker, or podman as root.
 *
 *     node scripts/newcomer-check.mjs [suite…]
 *
 * The suites (includes unit) are those that `npm test` runs there.
 */
import { chmodSync, mkdtempSync, realpathSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';

import { expect, runChecks, until } from './lib/checks.mjs';
import { findEngine } from './lib/engine.mjs';
import { root } from './lib/root.mjs';
import { must } from './lib/run-command.mjs';

const suites = process.argv.length > 2 ? process.argv.slice(2) : ['includes', 'unit'];
/** Set-up prints only the steps that it performs. */
const progress = /^moonring: .*$/m;
const minutes = 60;

await runChecks(async (check) => {
  const engine = await findEngine();
  const origin = mkdtempSync(join(tmpdir(), 'moonring-origin-'));
  try {
    chmodSync(origin, 0o755);
    await must('git', ['clone', '--quiet', '--bare', root, join(origin, 'moonring.git')]);
    for (const release of [12, 13]) {
      const image = await newMachine(engine, release);
      const machine = (user) => openMachine(engine, image, origin, user);
      await asRoot(check, engine, `Debian ${release}, root`, machine);
      await asUser(check, `Debian ${release}, without root`, machine);
    }
  } finally {
    rmSync(origin, { recursive: true });
  }
});

async function newMachine(engine, release) {
  const debian = await engine.debian(release);
  const image = `localhost/moonring-newcomer:${release}`;
  // Debian 12's Node is too old, so its users install another one; here it is this machine's.
  const packages = `ca-certificates curl git${release > 12 ? ' nodejs npm' : ''}`;
  const prefix = dirname(dirname(realpathSync(process.execPath)));
  const lines = [
    `FROM ${debian}`,
    `RUN apt-get update && apt-get install -y --no-install-recommends ${packages}`,
    'RUN useradd --create-home newcomer && git config --system safe.directory "*"',
  ];
  const files = {};
  if (release === 12) {
    const { stdout } = await must('sh', ['-c', 'command -v npm']);
    const npm = dirname(dirname(realpathSync(stdout.trim())));
    await must('tar', ['-C', dirname(npm), '-cf', join(tmpdir(), 'npm.tar'), 'npm']);
    Object.assign(files, { node: join(prefix, 'bin/node'), 'npm.tar': join(tmpdir(), 'npm.tar') });
    lines.push(
      'COPY node /usr/local/bin/node',
      'ADD npm.tar /usr/local/lib/',
      'RUN ln -s ../lib/npm/bin/npm-cli.js /usr/local/bin/npm',
    );
  }
  await engine.buildFrom(image, `${lines.join('\n')}\n`, files);
  return image;
}

/** A machine with nothing but a clone. */
async function openMachine(engine, image, origin, user, network) {
  const home = user === 'root' ? '/root' : '/home/newcomer';
  network ??= engine.networkOptions(home);
  const volumes = ['--volume', `${origin}:/srv:ro`];
  const container = await engine.start([...network, ...volumes, image, 'sleep', 'infinity']);
  const type = (line, as = user, directory = `${home}/moonring`) =>
    container.exec(
      ['sh', '-c', line],
      ['--user', as, '--workdir', directory, '--env', `HOME=${home}`],
    );
  return {
    ...container,
    home,
    type,
    clone: async () => {
      const { code, output } = await type(
        'git clone --quiet /srv/moonring.git moonring',
        user,
        home,
      );
      expect(code === 0, output);
    },
    /** `npm start` until it is ready, a request, and Ctrl-C. */
    serve: async () => {
      const startedAt = performance.now();
      await type('PORT=0 MOONRING_ADMIN=off npm start >../log 2>&1 & echo $! >../pid');
      const log = async () => (await type('cat ../log')).output;
      const isReady = async () => /"address":"(http[^"]*)"/.exec(await log())?.[1];
      // The container's first process does not reap: exited processes stay as zombies.
      const isOver = async () =>
        (await type('grep -q "^State:.[^Z]" /proc/$(cat ../pid)/status')).code !== 0;
      const isSettled = async () => (await isReady()) || isOver();
      await until('ready, or over', isSettled, 20 * minutes);
      const address = await isReady();
      if (!address) return { address, output: await log() };
      const seconds = (performance.now() - startedAt) / 1000;
      const { output } = await type(`curl -sSi --max-time 10 ${address}`);
      expect(output.startsWith('HTTP/1.1 200'), output);
      await type('kill -INT $(cat ../pid)');
      await until('the end after Ctrl-C', isOver);
      return { address, output: await log(), seconds };
    },
  };
}

async function asRoot(check, engine, name, machine) {
  const first = await machine('root');
  const done = `localhost/moonring-newcomer:done`;
  try {
    await first.clone();
    await check(`${name}: npm start installs, builds and serves`, () => served(first));
    await runTests(check, name, first);
    await engine.must(['commit', first.id, done]);
  } finally {
    await first.remove();
  }
  const second = await openMachine(engine, done, '/srv', 'root', ['--network', 'none']);
  try {
    await check(`${name}: a second start works offline, at once`, async () => {
      const { address, output, seconds } = await second.serve();
      expect(address, output);
      expect(!progress.test(output), `it did work again:\n${output}`);
      return `${seconds.toFixed(1)} s`;
    });
  } finally {
    await second.remove();
    await engine.run(['rmi', done]);
  }
}

/** What is missing must be named in one command for root, before anything else is done. */
async function asUser(check, name, machine) {
  const user = await machine('newcomer');
  try {
    await user.clone();
    for (const line of ['npm start', `npm test -- includes`]) {
      await check(`${name}: ${line} asks for one command, which works`, async () => {
        const { code, output } = await user.type(`timeout 600 ${line}`);
        if (line !== 'npm start' && code === 0) return 'for none';
        const commands = output.split('\n').filter((each) => /^ {2}\S/.test(each));
        expect(code !== 0 && commands.length === 1, output);
        const asked = await user.type(commands[0], 'root', '/root');
        expect(asked.code === 0, asked.output);
        return commands[0].trim();
      });
    }
    await check(`${name}: npm start builds and serves`, () => served(user));
    await runTests(check, name, user, ['includes']);
  } finally {
    await user.remove();
  }
}

async function served(machine) {
  const { address, output, seconds } = await machine.serve();
  expect(address, output);
  return `ready after ${seconds.toFixed(0)} s`;
}

async function runTests(check, name, machine, names = suites) {
  await check(`${name}: npm test -- ${names.join(' ')}`, async () => {
    const { code, output } = await machine.type(`npm test -- ${names.join(' ')}`);
    const counts = /^\d+ passed, \d+ failed$/m.exec(output)?.[0];
    expect(code === 0 && counts, output);
    return counts;
  });
  await check(`${name}: git sees no new file`, async () => {
    const { output } = await machine.type('git status --porcelain');
    expect(output === '', output);
  });
}
