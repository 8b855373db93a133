import { renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { startServer } from './server.js';
import { until } from './until.js';

const handler = (text: string) => `function handle(_, res) res:body('${text}'):send() end`;

t.test('with --watch each save by rename is applied', async (t) => {
  const app = join(t.testdir({ 'app.lua': handler('0') }), 'app.lua');
  const server = await startServer(t, { app, args: ['--watch'] });
  for (const text of ['1', '2', '3']) {
    writeFileSync(`${app}.new`, handler(text));
    renameSync(`${app}.new`, app);
    const generation = Number(text) + 1;
    await server.logLine(
      `generation ${generation}`,
      (line) => line.msg === 'reloaded' && line['generation'] === generation,
    );
    // For a moment the old process responds, too.
    const served = async () => (await (await fetch(server.url)).text()) === text;
    t.ok(await until('the new text is served', served), text);
  }
  const changes = server.logs.filter(({ msg }) => msg === 'files have changed: reloading');
  t.strictSame(
    changes.map(({ files }) => files),
    [[app], [app], [app]],
  );
});

t.test('with --watch a change of the config file is applied', async (t) => {
  const dir = t.testdir({ 'app.lua': handler('0'), 'moonring.json': '{}' });
  const config = join(dir, 'moonring.json');
  const args = ['--watch', '--config', config];
  const server = await startServer(t, { app: join(dir, 'app.lua'), args });
  t.equal((await fetch(`${server.url}/${'x'.repeat(64)}`)).status, 200);
  writeFileSync(config, '{ "maxUrl": 16 }');
  await server.logLine('the reload', ({ msg }) => msg === 'reloaded');
  const isApplied = async () => (await fetch(`${server.url}/${'x'.repeat(64)}`)).status === 414;
  t.ok(await until('the new limit holds', isApplied));
});
