import { spawnSync } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';

import { expect } from '../lib/check-list.mjs';
import { runContainer, startContainer } from './container.mjs';

/*
 * What has to be true of the image. Each check gets { image, container }, the latter a server that
 * is ready; the last one ends it. A check throws an Error that says what was seen.
 */

const stuck = ['--drain-timeout', '1h'];
const mostMs = 25_000;

/** About the files of the image; nothing runs. */
export const imageChecks = [
  {
    name: 'the image holds no compiler, build tool or header of ours',
    run: ({ image: { root } }) => {
      const unwanted = ['usr/bin/gcc', 'usr/bin/cmake', 'usr/bin/ninja', 'usr/include/llhttp.h'];
      const packages = ['typescript', 'tap', '@biomejs', 'node-api-headers'];
      const paths = [...unwanted, ...packages.map((name) => `app/node_modules/${name}`)];
      const found = paths.filter((path) => existsSync(join(root, path)));
      expect(found.length === 0, `found ${found.join(', ')}`);
    },
  },
  {
    name: 'the image holds no sources, tests or settings of the build',
    run: ({ image: { root } }) => {
      const unwanted = ['src', 'native', 'test', 'CMakeLists.txt', 'tsconfig.json', '.npmrc'];
      const found = unwanted.filter((path) => existsSync(join(root, 'app', path)));
      expect(found.length === 0, `found ${found.join(', ')}`);
    },
  },
  {
    name: 'the licences of what is in it are in it',
    run: ({ image: { root } }) => {
      for (const name of ['LICENSE', 'LICENSE.llhttp']) {
        const text = readFileSync(join(root, 'app', name), 'utf8');
        expect(/Permission is hereby granted/.test(text), `${name} says: ${text}`);
      }
    },
  },
  {
    name: 'the addon finds every library it needs',
    run: ({ image: { root } }) => {
      const words = [root, 'ldd', '/app/build/release/moonring.node'];
      const { stdout } = spawnSync('chroot', words, { encoding: 'utf8' });
      expect(stdout.includes('libluajit') && !stdout.includes('not found'), stdout);
    },
  },
];

/** About a container that runs the entrypoint with nothing added. */
export const liveChecks = [
  {
    name: 'the entrypoint is PID 1, an ordinary user without capabilities on a read-only root',
    run: ({ container, image }) => {
      const [first] = container.processes();
      const seen = {
        inner: first.inner,
        name: first.field('Name'),
        uid: first.field('Uid').split('\t')[0],
        capabilities: first.field('CapEff') + first.field('CapBnd'),
        noNewPrivileges: first.field('NoNewPrivs'),
      };
      const text = JSON.stringify(seen);
      expect(seen.inner === 1 && seen.uid === '1000', text);
      expect(/^0+$/.test(seen.capabilities) && seen.noNewPrivileges === '1', text);
      const touch = container.exec(['touch', `${image.config.workdir}/x`]);
      expect(touch.status !== 0 && touch.stderr.includes('Read-only'), touch.stderr);
    },
  },
  {
    name: 'jemalloc serves the reactors',
    run: async ({ container }) => {
      const line = await container.logLine('ready');
      expect(line.includes('"allocator":"jemalloc'), line);
    },
  },
  {
    name: 'it answers on the exposed port',
    run: ({ container, image }) => {
      const answer = container.get(`http://127.0.0.1:${image.config.port}/`);
      expect(answer.startsWith('HTTP/1.1 200 OK'), answer);
    },
  },
  {
    name: 'the health command says yes',
    run: ({ container, image }) => {
      const { status, stdout, stderr } = container.exec(image.config.health);
      expect(status === 0, `code ${status}: ${stdout}${stderr}`);
    },
  },
  {
    name: 'a killed reactor is replaced, served around, and leaves no zombie',
    run: async ({ container, image }) => {
      const [, victim] = container.processes();
      const count = container.processes().length;
      process.kill(victim.pid, 'SIGKILL');
      await until(`${count} processes again, none of them a zombie`, () => {
        const now = container.processes();
        const alive = now.filter((one) => !one.zombie);
        return now.length === alive.length && alive.length === count && !has(alive, victim);
      });
      const answer = container.get(`http://127.0.0.1:${image.config.port}/`);
      expect(answer.startsWith('HTTP/1.1 200 OK'), answer);
    },
  },
  {
    name: 'TERM lets an open request finish and ends with 0',
    run: async ({ container, image }) => {
      const slow = await container.slowRequest(image.config.port);
      container.signal(image.config.stopSignal);
      await slow.idleClosed;
      const answer = await slow.finish();
      const seen = [answer, ...container.lines].join('\n');
      expect(/^HTTP\/1\.1 200 OK/m.test(answer) && answer.endsWith('two halves'), seen);
      expect(/^connection: close/im.test(answer), `the answer does not close: ${answer}`);
      expectExit(await container.exited, 0);
    },
  },
];

/** About containers that each check starts by itself. */
export const exitChecks = [
  {
    name: 'a second TERM ends it at once, with 1',
    run: async ({ image }) => {
      const container = startContainer(image, { args: stuck });
      setTimeout(container.kill, mostMs).unref();
      await container.logLine('ready');
      const slow = await container.slowRequest(image.config.port);
      container.signal('SIGTERM');
      // Signals that come at once are one order: the second has to come after the drain began.
      await slow.idleClosed;
      const askedAt = performance.now();
      container.signal('SIGTERM');
      expectExit(await container.exited, 1);
      const tookMs = performance.now() - askedAt;
      expect(tookMs < 2000, `it took ${tookMs.toFixed(0)} ms`);
      await slow.finish();
    },
  },
  ...[
    [2, 'an unknown flag', { args: ['--no-such-flag'] }],
    [2, 'a bad variable', { env: { MOONRING_PORT: 'eighty' } }],
    [78, 'a missing app', { args: ['/app/none.lua'] }],
    [69, 'an address that is not ours', { env: { MOONRING_HOST: '192.0.2.1' } }],
    [0, 'a configuration check', { args: ['--check', 'examples/hello.lua'] }],
  ].map(([code, what, options]) => ({
    name: `${what} ends with ${code}`,
    run: async ({ image }) => {
      const exit = await runContainer(image, options);
      expectExit(exit, code, exit.text);
    },
  })),
];

function expectExit({ code, signal }, wanted, text = '') {
  expect(code === wanted, `ended with ${code ?? signal}, not ${wanted}\n${text}`);
}

function has(processes, { pid }) {
  return processes.some((one) => one.pid === pid);
}

async function until(what, probe) {
  const deadline = performance.now() + 10_000;
  while (!probe()) {
    if (performance.now() > deadline) throw new Error(`after 10 s still not: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}
