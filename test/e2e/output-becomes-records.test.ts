import { readFileSync } from 'node:fs';
import t from 'tap';
import { startServer } from './server.js';

t.test('output of a handler is a record, also with an access log', async (t) => {
  const server = await startServer(t, { app: 'output.lua', args: ['--access-log', 'json'] });
  await fetch(`${server.url}/io`);
  const io = await server.logLine('io.write', (line) => line['text'] !== undefined);
  t.match(io, {
    level: 30,
    reactor: 0,
    text: 'half a line, and the rest',
    msg: 'reactor wrote to standard output',
  });
  await fetch(`${server.url}/shell`);
  await server.logLine('echo', (line) => line['text'] === 'from a program');
  await server.logLine('the access log', (line) => JSON.stringify(line).includes('/shell'));
  t.strictSame(await server.stop(), { code: 0, signal: null });
  const lines = server.stdout().trimEnd().split('\n');
  for (const line of lines) t.doesNotThrow(() => JSON.parse(line), line);
});

const noStatus = process.platform === 'linux' ? false : 'reads /proc';

t.test('a line without end uses no memory in the master', { skip: noStatus }, async (t) => {
  const server = await startServer(t, { app: 'output.lua' });
  const peakKib = () => {
    const status = readFileSync(`/proc/${server.pid}/status`, 'utf8');
    return Number(/VmHWM:\s*(\d+)/.exec(status)?.[1]);
  };
  const beforeKib = peakKib();
  await fetch(`${server.url}/endless`);
  const line = await server.logLine('the line', ({ text }) => String(text).endsWith('[cut]'));
  t.ok(String(line['text']).length < 100_000);
  const grownMib = (peakKib() - beforeKib) / 1024;
  t.ok(grownMib < 128, `the master grew by ${grownMib.toFixed(0)} MiB for a line of 256 MiB`);
});
