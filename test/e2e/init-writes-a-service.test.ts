import {
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { basename, join } from 'node:path';
import t from 'tap';
import { packageRoot } from '../../src/shared/package-info.js';
import { runMaster } from './server.js';

const directory = join(t.testdir({ taken: { 'notes.txt': 'mine' } }), 'Über service');
const FILES = [
  ...['.dockerignore', '.gitignore', '.luarc.json', 'Dockerfile', 'README.md', 'greeting.lua'],
  ...['handler.lua', 'handler_test.lua', 'moonring.json', 'package.json', 'smoke.js'],
];

t.test('moonring init creates a service in a new directory', async (t) => {
  const { code, stdout, stderr } = await runMaster(['init', directory]);
  t.equal(code, 0, stderr);
  t.match(stdout, /npm install\n {2}npm run dev\n$/);
  t.strictSame(readdirSync(directory).sort(), FILES);
  for (const file of FILES)
    t.notMatch(readFileSync(join(directory, file), 'utf8'), /@[A-Z]+@/, file);
  const { name, scripts, dependencies } = JSON.parse(
    readFileSync(join(directory, 'package.json'), 'utf8'),
  );
  t.equal(name, 'ber-service', 'a name that npm takes');
  t.match(dependencies, { moonring: /^\^\d+\.\d+\.\d+$/ });
  t.strictSame(Object.keys(scripts), ['dev', 'start', 'test', 'check', 'routes', 'smoke']);
  const [library = ''] = JSON.parse(readFileSync(join(directory, '.luarc.json'), 'utf8'))[
    'workspace.library'
  ];
  t.ok(existsSync(join(packageRoot, library.replace('node_modules/moonring', ''))), 'types');
});

t.test('its tests pass, its configuration is valid, and its routes are listed', async (t) => {
  mkdirSync(join(directory, 'node_modules'));
  symlinkSync(packageRoot, join(directory, 'node_modules', 'moonring'));
  const config = join(directory, 'moonring.json');
  const [tested, checked, routes] = await Promise.all([
    runMaster(['test', directory]),
    runMaster(['--config', config, '--check']),
    runMaster(['routes', '--config', config]),
  ]);
  t.equal(tested.code, 0, tested.stdout);
  t.match(tested.stdout, /ok 4 - has no other pages.*\n1\.\.4\n$/);
  t.equal(checked.code, 0, checked.stderr);
  t.equal(routes.code, 0, routes.stderr);
  const lines = routes.stdout.trimEnd().split('\n');
  t.match(lines[1], /^GET {3}\/hello\/:name {2}\S*.*handler\.lua:\d+$/);
  const line = Number(/handler\.lua:(\d+)$/.exec(lines[1] ?? '')?.[1]);
  const source = readFileSync(join(directory, 'handler.lua'), 'utf8').split('\n');
  t.match(source[line - 1], "app:get('/hello/:name'", 'the line of the function');
});

t.test('moonring init overwrites nothing', async (t) => {
  const taken = join(directory, '..', 'taken');
  const { code, stdout, stderr } = await runMaster(['init', taken]);
  t.equal(code, 2);
  t.equal(stdout, '');
  t.match(stderr, /^moonring: init: \S*.*taken is not empty \(notes\.txt\): nothing was written/);
  t.strictSame(readdirSync(taken), ['notes.txt']);
  const file = await runMaster(['init', join(taken, 'notes.txt')]);
  t.equal(file.code, 2);
  t.match(file.stderr, /notes\.txt is not a directory\n$/);
});

t.test(
  'routes of static files are those of the line that has them, other apps have one',
  async (t) => {
    const app = join(directory, 'site.lua');
    mkdirSync(join(directory, 'public'));
    writeFileSync(
      app,
      `local app = require('moonring.router').new()
local group = app:group '/v1'
group:any('/all', function() end)
app:static('/files', '${join(directory, 'public')}')
handle = app:handler()
`,
    );
    const routes = await runMaster(['routes', app]);
    t.strictSame(
      routes.stdout
        .trimEnd()
        .split('\n')
        .map((line) => line.replace(/\S*Über service\//, '')),
      [
        'ANY  /v1/all       site.lua:3',
        'GET  /files/*path  site.lua:4',
        'GET  /files/       site.lua:4',
        'GET  /files        site.lua:4',
      ],
    );
    const plain = await runMaster(['routes', 'examples/hello.lua']);
    t.equal(plain.stdout, 'ANY  /*  examples/hello.lua:4\n');
    const missing = await runMaster(['routes', 'nowhere.lua']);
    t.equal(missing.code, 78);
    t.match(missing.stderr, `${basename('nowhere.lua')} does not exist`);
  },
);
