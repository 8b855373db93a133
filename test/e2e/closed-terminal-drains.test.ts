import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { childrenOf, isRunning } from './process-table.js';
import { cleanEnvironment, hasProgram } from './server.js';
import { until } from './until.js';

const skip = hasProgram('script') ? false : 'no script(1)';

t.test('HUP reloads, but closing the terminal drains', { skip }, async (t) => {
  const logFile = join(t.testdir(), 'log');
  const command = `exec node dist/master.js --port 0 --admin off --processes 1 --log-file ${logFile}`;
  const env = { ...cleanEnvironment(), SHELL: '/bin/sh' };
  // A pseudo-terminal, which closes when script(1) is killed.
  const terminal = spawn('script', ['-qefc', command, '/dev/null'], { env });
  const ended = once(terminal, 'close');
  t.teardown(() => terminal.kill('SIGKILL'));
  let text = '';
  terminal.stdout.on('data', (chunk: Buffer) => (text += chunk.toString()));
  await until('the ready line', () => text.includes('ready'));
  const logged = (message: string) =>
    existsSync(logFile) && readFileSync(logFile, 'utf8').includes(`"msg":"${message}"`);

  const [master = 0] = childrenOf(terminal.pid ?? 0);
  process.kill(master, 'SIGHUP');
  await until('the reload', () => logged('reloaded'));
  t.notOk(logged('draining'));

  terminal.kill('SIGKILL');
  await ended;
  await until('the end of the server', () => !isRunning(master));
  t.ok(logged('draining'));
  t.ok(logged('stopped'));
});
