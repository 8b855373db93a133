import t from 'tap';
import { type PathKind, resolveApp } from '../../../../src/master/reload/app.js';
import { MoonringError } from '../../../../src/shared/errors.js';

const TREE: Readonly<Record<string, PathKind>> = {
  '/opt/moonring/lua/demo.lua': 'file',
  '/srv/app.lua': 'file',
  '/srv/handler.so': 'file',
  '/srv/app.txt': 'file',
  '/srv/good': 'directory',
  '/srv/good/handler.lua': 'file',
  '/srv/empty': 'directory',
  '/srv/nested': 'directory',
  '/srv/nested/handler.lua': 'directory',
  '/srv/pipe.lua': 'other',
};

const resolve = (named: string | null) =>
  resolveApp(named, '/opt/moonring', (path) => TREE[path] ?? 'missing');

t.test('files, directories and shared objects are apps', async (t) => {
  t.strictSame(resolve(null), { kind: 'lua', path: '/opt/moonring/lua/demo.lua' });
  t.strictSame(resolve('/srv/app.lua'), { kind: 'lua', path: '/srv/app.lua' });
  t.strictSame(resolve('/srv/handler.so'), {
    kind: 'c',
    path: '/srv/handler.so',
    symbol: 'hs_handler',
  });
  t.strictSame(resolve('/srv/handler.so:answer'), {
    kind: 'c',
    path: '/srv/handler.so',
    symbol: 'answer',
  });
  t.strictSame(resolve('/srv/good'), { kind: 'lua', path: '/srv/good/handler.lua' });
});

t.test('other paths are rejected with a reason', async (t) => {
  const wrong: readonly [string, string | RegExp][] = [
    ['/srv/none.lua', 'the app /srv/none.lua does not exist'],
    ['/srv/app.txt', 'must be a .lua file, a directory with handler.lua, or a shared object'],
    ['/srv/tset', 'the app /srv/tset does not exist, and tset is no command: did you mean test?'],
    ['/srv/tset.lua', /does not exist$/],
    ['/srv/none.so', 'the app /srv/none.so does not exist'],
    ['/srv/none.so:answer', 'the app /srv/none.so does not exist'],
    ['/srv/handler.so:not a name', 'does not exist'],
    ['/srv/empty', 'has no handler.lua'],
    ['/srv/nested', 'has no handler.lua'],
    ['/srv/pipe.lua', 'is neither a file nor a directory'],
  ];
  for (const [path, message] of wrong) {
    t.throws(() => resolve(path), { code: 'ERR_MOONRING_HANDLER', message }, path);
    t.throws(() => resolve(path), MoonringError);
  }
});
