import { existsSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { startServer } from './server.js';
import { until } from './until.js';

/** An app that loads slowly: until there is a file `go`. */
const app = (dir: string) => `
io.open('${dir}/loading', 'w'):close()
local go
repeat go = io.open('${dir}/go') until go
go:close()
function handle(_, res) res:send() end
`;

for (const signal of ['SIGHUP', 'SIGUSR1'] as const) {
  t.test(`${signal} while the handler is checked kills nothing and opens nothing`, async (t) => {
    const dir = t.testdir();
    const path = join(dir, 'app.lua');
    writeFileSync(path, app(dir));
    const server = await startServer(t, {
      app: path,
      onStarting: async (child) => {
        await until('the handler is loading', () => existsSync(join(dir, 'loading')));
        child.kill(signal);
        writeFileSync(join(dir, 'go'), '');
      },
    });
    t.equal((await fetch(server.url)).status, 200);
    t.strictSame(await server.stop(), { code: 0, signal: null });
    t.notMatch(server.stderr(), 'Debugger');
  });
}
