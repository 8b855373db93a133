import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import t from 'tap';
import { hasProgram, startServer } from './server.js';

const run = promisify(execFile);

const withoutWrk = hasProgram('wrk') ? false : 'wrk is not installed';

t.test('wrk with 64 connections reports no error', { skip: withoutWrk }, async (t) => {
  const server = await startServer(t, { app: 'examples/hello.lua', processes: 2 });
  // A response after two seconds would count as a socket error.
  const { stdout } = await run('wrk', ['-t1', '-c64', '-d2s', '--timeout', '60s', server.url]);
  t.comment(stdout);
  t.notMatch(stdout, /Socket errors|Non-2xx/);
  t.ok(Number(/(\d+) requests in/.exec(stdout)?.[1]) > 0, 'requests were answered');
  t.strictSame(await server.stop(), { code: 0, signal: null });
});
