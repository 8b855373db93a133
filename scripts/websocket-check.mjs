/*
 * The cases of the Autobahn TestSuite for WebSocket servers, run by PyPI's kosoku against an
 * echo in Lua: no case may fail, nor be "non-strict".
 *
 *     node scripts/websocket-check.mjs [--short]
 *
 * --short: without the cases with many or large messages, and one of each kind of compression.
 */
import { join } from 'node:path';
import { expect, runChecks, Skipped } from './lib/checks.mjs';
import { pythonPackages } from './lib/python-packages.mjs';
import { root } from './lib/root.mjs';
import { must } from './lib/run-command.mjs';

const kosoku = 'kosoku==0.1.0';
const short = ['1', '2', '3', '4', '5', '6', '7', '10'].map((section) => `${section}.*`);
const compressed = [
  '12.1.3',
  '12.2.4',
  '12.3.11',
  '12.5.3',
  '13.1.2',
  '13.2.4',
  '13.3.2',
  '13.5.11',
];
const isShort = process.argv.includes('--short');
const options = {
  app: join(root, 'test/e2e/apps/rooms.lua'),
  admin: 'off',
  logLevel: 'off',
  port: 0,
  wsMaxMessage: '32m',
  wsMaxUnsent: '64m',
  wsMaxFrames: 0,
};

await runChecks(async (check) => {
  const { bin, reason } = await pythonPackages('kosoku', [kosoku], 'kosoku');
  if (reason) throw new Skipped(reason);
  const python = join(bin, 'python');
  const { createServer } = await import('../dist/index.js');
  const run = (wsCompress, cases) => async () => {
    const server = createServer({ ...options, wsCompress });
    const { address } = await server.start();
    try {
      return judge(await drive(python, address, cases));
    } finally {
      await server.close();
    }
  };
  if (isShort) {
    await check('Autobahn', run('takeover', [...short, ...compressed.slice(0, 4)]));
    await check('Autobahn, each message by itself', run('on', compressed));
    return;
  }
  await check('Autobahn', run('takeover', []));
  await check('Autobahn, each message by itself', run('on', ['12.*', '13.*']));
});

async function drive(python, address, cases) {
  const url = `${address.replace('http', 'ws')}/echo`;
  const driver = join(root, 'test/websocket/autobahn.py');
  const { stdout } = await must(python, [driver, url, '4', ...cases]);
  return JSON.parse(stdout);
}

/** The number of cases; throws those with an unexpected result. */
function judge(results) {
  const isRight = (verdict) => verdict === 'OK' || verdict === 'INFORMATIONAL';
  const all = Object.entries(results);
  const wrong = all.filter(([, verdicts]) => !verdicts.every(isRight));
  expect(all.length > 0, 'no case was run');
  expect(wrong.length === 0, wrong.map(([name, verdicts]) => `${name}: ${verdicts}`).join('\n'));
  const informational = all.filter(([, [behavior]]) => behavior === 'INFORMATIONAL').length;
  return `${all.length} cases: ${all.length - informational} OK, ${informational} informational`;
}
