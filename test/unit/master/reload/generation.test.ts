import { closeSync, openSync } from 'node:fs';
import t, { type Test } from 'tap';
import { checkHandler } from '../../../../src/master/reload/generation.js';

const ORDER = {
  app: { kind: 'lua', path: '/srv/app.lua' },
  luaRoot: '/srv/lua',
  shared: [],
} as const;

/** The files sent by a checker. */
const FILES = 1000;

const native = {
  socketPair: () => [openSync('/dev/null', 'r'), openSync('/dev/null', 'r')] as [number, number],
  closeDescriptor: closeSync,
  receiveDescriptor: () => FILES,
};

/** A package whose checker runs `script`. */
function packageWith(t: Test, script: string): string {
  return t.testdir({ dist: { 'checker.js': script } });
}

t.test('a positive result resolves to the files that came with it', async (t) => {
  const verdicts = [
    [
      { problem: null, isKept: true, isWhole: true },
      { appFd: FILES, isWhole: true },
    ],
    [
      { problem: null, isKept: false, isWhole: false },
      { appFd: -1, isWhole: false },
    ],
  ];
  for (const [verdict, result] of verdicts) {
    const root = packageWith(t, `process.send(${JSON.stringify(verdict)})`);
    t.strictSame(await checkHandler(native, root, ORDER), result);
  }
});

t.test('a problem rejects with its message', async (t) => {
  const root = packageWith(
    t,
    "process.send({ problem: 'app.lua:3: oh', isKept: false, isWhole: true })",
  );
  const error = { code: 'ERR_MOONRING_HANDLER', message: 'app.lua:3: oh' };
  await t.rejects(checkHandler(native, root, ORDER), error);
});

t.test('a result of another version rejects, and terminates nothing', async (t) => {
  for (const verdict of [
    '{ ok: true }',
    '7',
    'null',
    '{ problem: 5 }',
    '{ problem: null }',
    '[]',
  ]) {
    const root = packageWith(t, `process.send(${verdict}); setInterval(() => {}, 1000)`);
    const error = {
      code: 'ERR_MOONRING_PROTOCOL',
      message: /^the checker is from another version/,
    };
    await t.rejects(checkHandler(native, root, ORDER), error, verdict);
  }
});

t.test('a handler that terminates the process, or never returns, rejects', async (t) => {
  const ended = checkHandler(native, packageWith(t, 'process.exit(3)'), ORDER);
  await t.rejects(ended, {
    message: '/srv/app.lua terminated the process that loaded it (exit code 3)',
  });
  const endless = checkHandler(native, packageWith(t, 'setInterval(() => {}, 1000)'), ORDER, {
    timeoutMs: 300,
  });
  await t.rejects(endless, { message: '/srv/app.lua did not finish loading within 0.3 s' });
});
