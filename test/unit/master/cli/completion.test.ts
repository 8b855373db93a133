import { execFileSync, spawnSync } from 'node:child_process';
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { readCommandLine } from '../../../../src/master/cli/cli.js';
import type { OptionSpec } from '../../../../src/shared/option-spec.js';
import { flagOf, OPTIONS } from '../../../../src/shared/options.js';

function scriptFor(shell: string): string {
  const line = readCommandLine({
    argv: ['completion', shell],
    env: {},
    cwd: '/',
    readText: () => '',
  });
  if (line.action !== 'completion') throw new TypeError(line.action);
  return line.text;
}

/** The completions of bash for these words, the last of which is incomplete. */
function inBash(t: Test, lines: readonly (readonly string[])[]): string[][] {
  const directory = t.testdir({ 'app.lua': '', 'other.txt': '' });
  mkdirSync(join(directory, 'public'));
  const quoted = (words: readonly string[]) => words.map((word) => `'${word}'`).join(' ');
  const asking = lines.map(
    (words) => `COMPREPLY=(); COMP_WORDS=(moonring ${quoted(words)}); COMP_CWORD=${words.length}
_moonring; (IFS=' '; echo "\${COMPREPLY[*]}")`,
  );
  const script = `${scriptFor('bash')}\n${asking.join('\n')}\n`;
  const shell = ['--noprofile', '--norc', '-u'];
  const output = execFileSync('bash', shell, { cwd: directory, input: script, encoding: 'utf8' });
  return output
    .trimEnd()
    .split('\n')
    .map((line) => line.split(' ').filter((word) => word !== ''));
}

t.test('bash completes commands, flags, values and files', async (t) => {
  const offers: readonly [readonly string[], readonly string[]][] = [
    [['ro'], ['routes']],
    [['--acce'], ['--accept', '--access-log', '--access-log-file']],
    [['--accept', 'r'], ['reuseport']],
    [['--accept', '=', 'b'], ['boss']],
    [
      ['--accept', '='],
      ['auto', 'reuseport', 'boss'],
    ],
    [['-p', ''], ['off']],
    [['--compress', 'g'], ['gzip']],
    [['--config', 'oth'], ['other.txt']],
    [['app'], ['app.lua']],
    [['--port', '1', 'pub'], ['public']],
    [['--watch', 'ap'], ['app.lua']],
    [['serve', '--cl'], ['--clean-urls']],
    [
      ['serve', '--comp'],
      [
        '--compress',
        '--compress-types',
        '--compress-min-size',
        '--compress-gzip-level',
        '--compress-br-level',
      ],
    ],
    [['--clean'], []],
    [['ctl', 're'], ['reload']],
    [['completion', 'z'], ['zsh']],
    [['init', 'pub'], ['public']],
    [['routes', '--conf'], ['--config']],
  ];
  const found = inBash(
    t,
    offers.map(([words]) => words),
  );
  for (const [at, [words, expected]] of offers.entries()) {
    t.same(new Set(found[at] ?? []), new Set(expected), words.join(' '));
  }
});

t.test('all shells know every option', async (t) => {
  for (const shell of ['bash', 'zsh', 'fish']) {
    const script = scriptFor(shell);
    for (const spec of OPTIONS.filter((each: OptionSpec) => each.role !== 'argument')) {
      const flag = shell === 'fish' ? `-l ${flagOf(spec).slice(2)} ` : flagOf(spec);
      t.ok(script.includes(flag), `${shell}: ${flagOf(spec)}`);
    }
  }
});

t.test('every installed shell can parse its script', async (t) => {
  const directory = t.testdir();
  for (const shell of ['bash', 'zsh', 'fish']) {
    const path = join(directory, shell);
    writeFileSync(path, scriptFor(shell));
    const { status, error, stderr } = spawnSync(shell, ['-n', path], { encoding: 'utf8' });
    if (error !== undefined) t.comment(`${shell} is not installed`);
    else t.equal(status, 0, shell, { stderr });
  }
});
