import { join } from 'node:path';
import t from 'tap';
import { requireStartable } from '../../../../src/master/runtime/startable.js';
import { resolveConfig } from '../../../../src/shared/config.js';
import { MoonringError } from '../../../../src/shared/errors.js';

const directory = t.testdir({ file: '' });

function problem(flags: Readonly<Record<string, string>>, speaksTls = false): string {
  const resolved = resolveConfig({ flags, env: {}, file: null, cwd: directory });
  try {
    requireStartable(resolved, { speaksTls, processes: 2 });
  } catch (error) {
    if (error instanceof MoonringError) return `${error.code} ${error.message}`;
    throw error;
  }
  return '';
}

t.test('problems that prevent a start are found without starting', async (t) => {
  const wrong: readonly [Readonly<Record<string, string>>, RegExp][] = [
    [{ port: 'off' }, /^ERR_MOONRING_USAGE there is nothing to listen on/],
    [{ minReactors: '3' }, /^ERR_MOONRING_CONFIG --min-reactors 3 is more than the 2 reactors/],
    [{ port: '81', admin: '127.0.0.1:81' }, /^ERR_MOONRING_USAGE --port and --admin are both 81/],
    [{ port: '81', admin: '0.0.0.0:81' }, /^ERR_MOONRING_USAGE --port and --admin/],
    [{ uds: 's', admin: './s' }, /^ERR_MOONRING_USAGE --uds and --admin are both .*\/s/],
    [{ uds: 'nowhere/socket' }, /^ERR_MOONRING_LISTEN .*there is no directory/],
    [{ admin: './nowhere/socket' }, /^ERR_MOONRING_LISTEN .*there is no directory/],
    [{ uds: 'file' }, /^ERR_MOONRING_LISTEN .* exists and is not a socket/],
    [{ logFile: 'nowhere/log' }, /^ERR_MOONRING_CONFIG the log file cannot be opened/],
  ];
  for (const [flags, expected] of wrong) t.match(problem(flags), expected, JSON.stringify(flags));
  t.match(problem({ port: '8443' }, true), /^ERR_MOONRING_USAGE --port and --tls-port are both/);
});

t.test('a valid configuration has no problem', async (t) => {
  const fine: readonly Readonly<Record<string, string>>[] = [
    {},
    { port: 'off', uds: 'socket' },
    { port: '9464' },
    { port: '81', admin: '127.0.0.2:81' },
    { port: '0', admin: '127.0.0.1:0' },
    { minReactors: '2', logFile: join(directory, 'new.log') },
  ];
  for (const flags of fine) t.equal(problem(flags), '', JSON.stringify(flags));
  t.equal(problem({ port: 'off' }, true), '');
});
