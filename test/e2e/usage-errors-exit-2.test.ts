import t, { type Test } from 'tap';
import { runMaster } from './server.js';

async function refuses(t: Test, args: readonly string[], message: RegExp): Promise<void> {
  const { code, stdout, stderr } = await runMaster(args);
  t.equal(code, 2, args.join(' '));
  t.match(stderr, message);
  t.equal(stdout, '');
  t.notMatch(stderr, /\n\s+at /, 'no stack trace');
}

t.test('an unknown flag gets a suggestion', async (t) => {
  await refuses(t, ['--prot', '0'], /--prot\b.*did you mean --port\?/i);
  await refuses(t, ['--max-bodi', '1m'], /--max-bodi\b.*did you mean --max-body\?/i);
});

t.test('a flag unlike any other gets none', async (t) => {
  await refuses(t, ['--xyzzy'], /--xyzzy/);
});

t.test('a bad size names the flag and the text', async (t) => {
  await refuses(t, ['--ring-size', '100q'], /--ring-size.*100q/);
  await refuses(t, ['--ring-size', '5000'], /--ring-size.*5000/);
  await refuses(t, ['--max-body', '-1'], /--max-body/);
  await refuses(t, ['--max-url', ''], /--max-url/);
});

t.test('a bad count, duration, port or choice names the flag', async (t) => {
  await refuses(t, ['--processes', '0'], /--processes/);
  await refuses(t, ['--processes', 'many'], /--processes.*many/);
  await refuses(t, ['--header-timeout', '10'], /--header-timeout.*10/);
  await refuses(t, ['--port', '65536'], /--port.*65536/);
  await refuses(t, ['--log-level', 'loud'], /--log-level.*loud/);
});

t.test('a flag without its value, and a second app', async (t) => {
  await refuses(t, ['--port'], /--port/);
  await refuses(t, ['examples/hello.lua', 'examples/hello.lua'], /argument/);
});
