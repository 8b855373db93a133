import { join } from 'node:path';
import t, { type Test } from 'tap';
import { appPath, runMaster } from './server.js';

async function refuses(t: Test, app: string, message: RegExp): Promise<void> {
  const { code, stdout, stderr } = await runMaster([
    '--port',
    '0',
    '--processes',
    '2',
    appPath(app),
  ]);
  t.equal(code, 78);
  t.match(stdout + stderr, message);
  t.notMatch(stdout, /"msg":"ready"/);
  t.notMatch(stdout + stderr, /\n\s+at /, 'no JavaScript stack trace');
}

t.test('a syntax error is reported with file and line', (t) =>
  refuses(t, 'syntax-error.lua', /syntax-error\.lua:3: .*expected near/),
);

t.test('an error raised while the file loads is reported with file and line', (t) =>
  refuses(t, 'error-at-load.lua', /error-at-load\.lua:2: no database/),
);

t.test('a file without the function handle is rejected with that reason', (t) =>
  refuses(t, 'no-handle.lua', /no-handle\.lua.*handle/),
);

t.test('a missing file is named', (t) =>
  refuses(t, 'test/e2e/apps/no-such-app.lua', /no-such-app\.lua/),
);

t.test('every searched path of a missing module is printed', async (t) => {
  const app = join(t.testdir({ 'handler.lua': "require 'nowhere.to.be.found'\n" }), 'handler.lua');
  await refuses(
    t,
    app,
    /module 'nowhere\.to\.be\.found' not found:\n\tno field .*\n(\tno file .*\n){3}/,
  );
  const { code, stderr } = await runMaster(['--check', app]);
  t.equal(code, 78);
  t.match(stderr, /\n\tno file /);
});
