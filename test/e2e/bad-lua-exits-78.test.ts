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

t.test('a syntax error is named with file and line', (t) =>
  refuses(t, 'syntax-error.lua', /syntax-error\.lua:3: .*expected near/),
);

t.test('an error while the file loads is named with file and line', (t) =>
  refuses(t, 'error-at-load.lua', /error-at-load\.lua:2: no database/),
);

t.test('a file without the function handle says so', (t) =>
  refuses(t, 'no-handle.lua', /no-handle\.lua.*handle/),
);

t.test('a file that is not there is named', (t) =>
  refuses(t, 'test/e2e/apps/no-such-app.lua', /no-such-app\.lua/),
);
