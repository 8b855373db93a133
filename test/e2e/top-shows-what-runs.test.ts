import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import t from 'tap';
import { statusOf } from './admin-client.js';
import { cleanEnvironment, hasProgram, runMaster, startServer } from './server.js';
import { socketDirectory } from './socket-directory.js';
import { until } from './until.js';

const skip = hasProgram('script') ? false : 'no script(1)';

t.test(
  'top: a pipe gets one page; a terminal frames, and its keys reload and end',
  { skip },
  async (t) => {
    const path = join(socketDirectory(t), 'admin.sock');
    const server = await startServer(t, { processes: 2, args: ['--admin', `127.0.0.1:0,${path}`] });
    const { code, stdout: printed } = await runMaster(['top', '--admin', path]);
    t.equal(code, 0);
    t.match(printed, /^moonring \S+ {2}serving, ready/);
    t.match(printed, new RegExp(`0 +ready +${server.reactorPids()[0]} `));
    t.notOk(printed.includes('\x1b'), 'no control sequences in a pipe');

    const env = { ...cleanEnvironment(), SHELL: '/bin/sh', TERM: 'xterm' };
    const command = `stty cols 100 rows 30; exec node dist/master.js top --admin ${path}`;
    const terminal = spawn('script', ['-qefc', command, '/dev/null'], { env });
    const ended = once(terminal, 'close');
    t.teardown(() => terminal.kill('SIGKILL'));
    let text = '';
    terminal.stdout.setEncoding('utf8').on('data', (chunk: string) => (text += chunk));

    const frames = () => text.split('\x1b[H').slice(1);
    await until('the second frame', () => frames().length > 1);
    const lines = frames()[0]?.split('\r\n') ?? [];
    t.equal(lines.length, 30, 'as many lines as the terminal has');
    t.match(lines[2], /2 of 2 ready/);
    terminal.stdin.write('r');
    await until('the question', () => text.includes('y or n'));
    t.equal((await statusOf(server)).generation, 1);
    terminal.stdin.write('y');
    await until('the reload', () => text.includes('reloaded: generation 2, lua states'));

    // A later server is shown: it may have been restarted.
    t.strictSame(await server.stop(), { code: 0, signal: null });
    await until('the failure', () => text.includes(`no response from ${path}`));
    terminal.stdin.write('q');
    t.strictSame(await ended, [0, null]);
    t.ok(text.trimEnd().endsWith('\x1b[?25h\x1b[?1049l'), 'the terminal is as it was');
  },
);
