import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import t from 'tap';
import { startServer } from '../e2e/server.js';
import { readPage } from './pages.js';

/** Each connection breaks after one statement; the third and the fourth are refused. */
const LUASQL = `
local connections = 0
local function connection(lives)
  return {
    execute = function()
      lives = lives - 1
      if lives < 0 then
        return nil, 'server closed the connection unexpectedly'
      end
      local rows = { { id = connections, name = 'rex' } }
      return {
        fetch = function()
          return table.remove(rows)
        end,
        close = function() end,
      }
    end,
    close = function()
      error 'closing what is lost fails too'
    end,
  }
end
return {
  postgres = function()
    return {
      connect = function()
        connections = connections + 1
        if connections == 3 or connections == 4 then
          return nil, 'connection refused'
        end
        return connection(1)
      end,
    }
  end,
}
`;

t.test(
  'the handler with a database reconnects, and responds with 503 without a database',
  async (t) => {
    const app = mkdtempSync(join(tmpdir(), 'moonring-recipe-'));
    t.teardown(() => rmSync(app, { recursive: true }));
    const block = readPage('docs/recipes.md').blocks.find(({ file }) => file === 'db/handler.lua');
    writeFileSync(join(app, 'handler.lua'), block?.text ?? '');
    mkdirSync(join(app, 'luasql'));
    writeFileSync(join(app, 'luasql/postgres.lua'), LUASQL);
    const server = await startServer(t, { app, args: ['--threads', '1'] });
    const get = async () => {
      const response = await fetch(server.url);
      const text = await response.text();
      return [response.status, text.startsWith('[') ? JSON.parse(text) : text];
    };
    t.strictSame(await get(), [200, [{ id: 1, name: 'rex' }]]);
    t.strictSame(await get(), [200, [{ id: 2, name: 'rex' }]], 'over a new connection');
    t.strictSame(await get(), [503, 'try again\n'], 'when no connection is accepted');
    t.strictSame(await get(), [200, [{ id: 5, name: 'rex' }]], 'when one is accepted again');
  },
);
