import { execFileSync } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { connectRaw, requestText } from './raw-client.js';
import { startServer } from './server.js';

const skip =
  process.platform !== 'linux'
    ? 'connections survive a crash on Linux only'
    : process.env['MOONRING_TEST_PRELOAD'] !== undefined && 'something else is preloaded';

for (const accept of ['reuseport', 'boss'] as const) {
  const name = `a crash between a new connection and the first note of it, accept ${accept}`;
  t.test(name, { skip }, async (t) => {
    const directory = t.testdir();
    const library = join(directory, 'dies.so');
    const source = 'test/e2e/apps/dies-with-a-new-connection.c';
    execFileSync('cc', ['-shared', '-fPIC', '-o', library, source], { stdio: 'inherit' });
    const mark = join(directory, 'victim');
    const server = await startServer(t, {
      app: 'pid.lua',
      args: ['--accept', accept],
      env: { LD_PRELOAD: library, MARK: mark },
    });
    // A reactor gets connections of any port from the boss: it knows the ports.
    const earlier = await connectRaw(t, server);
    const ask = requestText('/');
    const before = await earlier.request(ask);
    const victim = before.body.toString();
    writeFileSync(mark, victim);
    const client = await connectRaw(t, server);
    const response = await client.request(ask);
    t.equal(response.status, 200);
    t.not(response.body.toString(), victim, 'it is served by the next process');
    t.equal((await earlier.request(ask)).status, 200);
    const record = await server.logLine('the hand-over', (line) => 'handOverMs' in line);
    t.match(record, { reactorPid: Number(victim), connections: { idle: 2, closed: 0 } });
    t.strictSame(await server.stop(), { code: 0, signal: null });
  });
}
