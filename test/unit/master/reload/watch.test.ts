import { mkdirSync, renameSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { join, relative } from 'node:path';
import t, { type Test } from 'tap';
import { watchFiles } from '../../../../src/master/reload/watch.js';
import { until } from '../../../e2e/until.js';

interface Watched {
  /** The files of each reported change, relative to the directory. */
  readonly changes: readonly (readonly string[])[];
  /** Waits for the change caused by `act`. */
  readonly after: (act: () => void) => Promise<readonly string[]>;
}

function watchApp(
  t: Test,
  directory: string,
  path: string,
  kind: 'lua' | 'c' = 'lua',
  config: string | null = null,
): Watched {
  const app = kind === 'lua' ? { kind, path } : { kind, path, symbol: 'hs_handler' };
  const changes: string[][] = [];
  const watcher = watchFiles(() => ({ app, config }), {
    onChange: (files) => changes.push(files.map((file) => relative(directory, file)).sort()),
    onProblem: (error) => t.fail(String(error)),
  });
  t.teardown(() => watcher.close());
  return {
    changes,
    after: async (act) => {
      const before = changes.length;
      act();
      await until('the change is reported', () => changes.length > before);
      return changes[before] ?? [];
    },
  };
}

/** Like an editor that saves: a new file replaces the old one. */
function saveByRename(path: string, text: string): void {
  writeFileSync(`${path}.tmp`, text);
  renameSync(`${path}.tmp`, path);
}

t.test('changes of .lua files are reported, each time', async (t) => {
  const dir = t.testdir({ 'app.lua': '', lib: { deep: { 'a.lua': '' } } });
  const { after } = watchApp(t, dir, join(dir, 'app.lua'));
  const app = join(dir, 'app.lua');
  t.strictSame(await after(() => writeFileSync(app, 'a = 1')), ['app.lua']);
  for (const text of ['a = 2', 'a = 3', 'a = 4']) {
    t.strictSame(await after(() => saveByRename(app, text)), ['app.lua'], text);
  }
  const deep = join(dir, 'lib', 'deep');
  t.strictSame(await after(() => saveByRename(join(deep, 'a.lua'), 'b')), ['lib/deep/a.lua']);
  t.strictSame(await after(() => writeFileSync(join(deep, 'b.lua'), '')), ['lib/deep/b.lua']);
  const added = () => {
    mkdirSync(join(dir, 'new'));
    writeFileSync(join(dir, 'new', 'c.lua'), '');
  };
  t.strictSame(await after(added), ['new/c.lua']);
  t.strictSame(await after(() => saveByRename(join(dir, 'new', 'c.lua'), 'c')), ['new/c.lua']);
  t.strictSame(await after(() => rmSync(join(dir, 'new', 'c.lua'))), ['new/c.lua']);
});

t.test('changes of the config file and of C modules beside the app are reported', async (t) => {
  const dir = t.testdir({ etc: { 'moonring.json': '{}' }, app: { 'app.lua': '', 'fast.so': 'a' } });
  const config = join(dir, 'etc', 'moonring.json');
  const { after } = watchApp(t, dir, join(dir, 'app', 'app.lua'), 'lua', config);
  t.strictSame(await after(() => writeFileSync(config, '{ }')), ['etc/moonring.json']);
  t.strictSame(await after(() => saveByRename(config, '{  }')), ['etc/moonring.json']);
  const object = join(dir, 'app', 'fast.so');
  t.strictSame(await after(() => saveByRename(object, 'b')), ['app/fast.so']);
});

t.test(
  'a burst of changes is one change; files that a reload does not load are ignored',
  async (t) => {
    const dir = t.testdir({
      'app.lua': 'a',
      'same.lua': 'a',
      '.git': { 'x.lua': '' },
      node_modules: { x: { 'x.lua': '' } },
    });
    const { after, changes } = watchApp(t, dir, join(dir, 'app.lua'));
    writeFileSync(join(dir, 'notes.txt'), 'x');
    writeFileSync(join(dir, '.git', 'x.lua'), 'x');
    writeFileSync(join(dir, 'node_modules', 'x', 'x.lua'), 'x');
    saveByRename(join(dir, 'same.lua'), 'a');
    const burst = () => {
      for (let i = 0; i < 20; i++) writeFileSync(join(dir, 'app.lua'), `a = ${i}`);
      writeFileSync(join(dir, 'other.lua'), '');
    };
    t.strictSame(await after(burst), ['app.lua', 'other.lua']);
    t.equal(changes.length, 1);
  },
);

t.test('an app that is a symbolic link is followed when the link changes', async (t) => {
  const dir = t.testdir({
    r1: { 'handler.lua': '1', 'lib.lua': '' },
    r2: { 'handler.lua': '2', 'lib.lua': '' },
    r3: { 'handler.lua': '3', 'lib.lua': '' },
    current: t.fixture('symlink', 'r1'),
  });
  const { after } = watchApp(t, dir, join(dir, 'current', 'handler.lua'));
  const deploy = (release: string) => () => {
    symlinkSync(release, join(dir, 'next'));
    renameSync(join(dir, 'next'), join(dir, 'current'));
  };
  t.strictSame(await after(deploy('r2')), ['current/handler.lua']);
  t.strictSame(await after(deploy('r3')), ['current/handler.lua']);
  const saved = () => saveByRename(join(dir, 'r3', 'lib.lua'), 'x');
  t.strictSame(await after(saved), ['current/lib.lua']);
});

t.test('files that are links through a directory with a dot are followed', async (t) => {
  const dir = t.testdir({
    app: {
      '..v1': { 'handler.lua': '1', 'lib.lua': 'a' },
      '..data': t.fixture('symlink', '..v1'),
      'handler.lua': t.fixture('symlink', '..data/handler.lua'),
      'lib.lua': t.fixture('symlink', '..data/lib.lua'),
    },
  });
  const app = join(dir, 'app');
  const { after } = watchApp(t, app, join(app, 'handler.lua'));
  for (const version of ['v2', 'v3']) {
    const update = () => {
      mkdirSync(join(app, `..${version}`));
      writeFileSync(join(app, `..${version}`, 'handler.lua'), version);
      writeFileSync(join(app, `..${version}`, 'lib.lua'), 'a');
      symlinkSync(`..${version}`, join(app, '..next'));
      renameSync(join(app, '..next'), join(app, '..data'));
    };
    t.strictSame(await after(update), ['handler.lua'], version);
  }
});

t.test('a directory that is replaced is watched again', async (t) => {
  const dir = t.testdir({ app: { 'handler.lua': '1' }, next: { 'handler.lua': '2' } });
  const { after } = watchApp(t, dir, join(dir, 'app', 'handler.lua'));
  const replace = () => {
    renameSync(join(dir, 'app'), join(dir, 'old'));
    renameSync(join(dir, 'next'), join(dir, 'app'));
  };
  t.strictSame(await after(replace), ['app/handler.lua']);
  const saved = () => saveByRename(join(dir, 'app', 'handler.lua'), '3');
  t.strictSame(await after(saved), ['app/handler.lua']);
});

t.test('the only file of a C handler is the handler', async (t) => {
  const dir = t.testdir({ 'app.so': '1', 'x.lua': '' });
  const { after } = watchApp(t, dir, join(dir, 'app.so'), 'c');
  writeFileSync(join(dir, 'x.lua'), '2');
  for (const text of ['2', '3']) {
    t.strictSame(await after(() => saveByRename(join(dir, 'app.so'), text)), ['app.so']);
  }
});

t.test('more directories than can be watched are a problem, but not an error', async (t) => {
  const dir = t.testdir({ 'app.lua': '' });
  for (let i = 0; i < 1100; i++) mkdirSync(join(dir, `d${i}`));
  const problems: unknown[] = [];
  const app = { kind: 'lua', path: join(dir, 'app.lua') } as const;
  const onProblem = (error: unknown) => problems.push(error);
  watchFiles(() => ({ app, config: null }), { onChange: () => {}, onProblem }).close();
  t.match(problems, [{ message: /^more than 1024 directories/ }]);
});
