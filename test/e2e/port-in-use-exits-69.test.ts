import { createServer } from 'node:net';
import t from 'tap';
import { listenLocally } from './listening.js';
import { runMaster } from './server.js';

t.test('a port that is in use ends the start with 69 and a message', async (t) => {
  const occupant = createServer();
  t.teardown(() => occupant.close());
  const port = await listenLocally(occupant);

  for (const processes of ['1', '2']) {
    const { code, stdout, stderr } = await runMaster([
      ...['--port', String(port), '--processes', processes],
      'examples/hello.lua',
    ]);
    t.equal(code, 69, `${processes} processes`);
    t.match(stdout + stderr, new RegExp(`127\\.0\\.0\\.1:${port}.* in use`));
    t.notMatch(stdout, /"msg":"ready"/);
    t.notMatch(stdout + stderr, /\n\s+at /, 'no stack trace');
  }
});
