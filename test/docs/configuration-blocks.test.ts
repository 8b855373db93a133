import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import t from 'tap';
import { parse } from 'yaml';
import { hasProgram, runMaster } from '../e2e/server.js';
import { type Block, readPage } from './pages.js';

const directory = mkdtempSync(join(tmpdir(), 'moonring-docs-'));
t.teardown(() => rmSync(directory, { recursive: true }));

/** Keys of systemd.service(5), systemd.kill(5) and systemd.exec(5). */
const SETTINGS = [
  ...['Type', 'ExecStart', 'ExecReload', 'KillMode', 'TimeoutStopSec', 'Restart'],
  ...['RestartPreventExitStatus', 'RuntimeDirectory', 'LimitNOFILE', 'WatchdogSec', 'OOMPolicy'],
];

function blockIn(path: string, language: string): Block {
  const block = readPage(path).blocks.find((each) => each.language === language);
  if (block === undefined) throw new Error(`${path} has no block of ${language}`);
  return block;
}

t.test('the config file of docs/configuration.md passes --check', async (t) => {
  const file = join(directory, 'moonring.json');
  writeFileSync(file, blockIn('docs/configuration.md', 'json').text);
  writeFileSync(join(directory, 'app.lua'), 'function handle() end\n');
  t.match(await runMaster(['--config', file, '--check']), { code: 0, stderr: '' });
});

t.test('the unit of docs/operations.md is valid for systemd', async (t) => {
  const { text } = blockIn('docs/operations.md', 'ini');
  const [section, ...settings] = text.trimEnd().split('\n');
  t.equal(section, '[Service]');
  for (const line of settings) {
    const [name = '', value = ''] = line.split('=');
    t.ok(SETTINGS.includes(name) && value !== '', line);
  }
  const options = /dist\/master\.js (.*)$/m.exec(text)?.[1]?.split(' ') ?? [];
  // The app is the reader's; its path is the last word.
  t.match(await runMaster([...options.slice(0, -1), '--check']), { code: 0 });
  if (!hasProgram('systemd-analyze')) return;
  const unit = join(directory, 'moonring.service');
  const local = text.replace(/^ExecStart=\S+/m, `ExecStart=${process.execPath}`);
  writeFileSync(unit, local);
  const { status, stderr } = spawnSync('systemd-analyze', ['verify', unit], { encoding: 'utf8' });
  t.equal(status, 0, stderr);
});

t.test('the overlay of docs/containers.md replaces parts of the base', async (t) => {
  const overlay = parse(blockIn('docs/containers.md', 'yaml').text);
  t.strictSame(overlay.resources, ['moonring/deploy/kubernetes/monitored']);
  t.match(overlay.images, [{ name: 'moonring', newTag: /^\d/ }]);
  t.match(overlay.configMapGenerator, [{ name: 'moonring-app', behavior: 'replace' }]);
});
