import t from 'tap';
import { connectRaw, requestText } from './raw-client.js';
import { startServer } from './server.js';

const ENDED_BY_THE_GUARD = ['wrap', 'gsub'];
const ENDED_BY_LUAJIT = [
  'sort',
  'load',
  'format',
  'message-handler',
  'require',
  'pattern',
  'pcall',
];

for (const mode of ['inline', 'worker']) {
  t.test(`endless recursion through C is 500 and the reactor survives, ${mode}`, async (t) => {
    const server = await startServer(t, {
      app: 'recursion.lua',
      args: ['--dispatch', mode, '--threads', '1'],
    });
    const reactors = server.reactorPids();
    const client = await connectRaw(t, server);
    for (const way of [...ENDED_BY_THE_GUARD, ...ENDED_BY_LUAJIT]) {
      t.equal((await client.request(requestText(`/${way}`))).status, 500, way);
      t.equal((await client.request(requestText('/'))).body.toString(), 'lives', way);
    }
    for (const way of ENDED_BY_THE_GUARD) {
      await server.logLine(`what ended ${way}`, (line) =>
        new RegExp(`GET /${way}: .*recursion\\.lua:\\d+: C stack overflow`).test(line.msg ?? ''),
      );
    }
    t.strictSame(server.reactorPids(), reactors, 'in the same processes');
    t.strictSame(await server.stop(), { code: 0, signal: null });
  });
}
