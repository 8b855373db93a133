import t from 'tap';
import { connectRaw, requestText } from './raw-client.js';
import { startServer } from './server.js';

for (const mode of ['inline', 'worker']) {
  t.test(`too much memory is 500 and the next request is served, ${mode}`, async (t) => {
    const server = await startServer(t, {
      app: 'dispatch.lua',
      args: ['--dispatch', mode, '--threads', '1', '--lua-memory', '16m'],
    });
    const reactors = server.reactorPids();
    const client = await connectRaw(t, server);
    for (let i = 0; i < 5; i++) {
      t.equal((await client.request(requestText('/memory'))).status, 500);
      t.equal((await client.request(requestText('/quick'))).body.toString(), 'quick');
    }
    await server.logLine('the error', (line) =>
      /GET \/memory: .*not enough memory/.test(line.msg ?? ''),
    );
    t.strictSame(server.reactorPids(), reactors);
    t.strictSame(await server.stop(), { code: 0, signal: null });
  });
}
