import t from 'tap';
import { type CommandLine, readCommandLine } from '../../../../src/master/cli/cli.js';
import { MoonringError } from '../../../../src/shared/errors.js';
import type { OptionSpec } from '../../../../src/shared/option-spec.js';
import { flagOf, OPTIONS } from '../../../../src/shared/options.js';

const FILES: Readonly<Record<string, string>> = {
  '/srv/site/good.json': '{"port": 4, "maxBody": "1m"}',
  '/srv/site/bad.json': '{"prot": 4}',
};

function read(argv: readonly string[], env: Record<string, string> = {}): CommandLine {
  const readText = (path: string) => {
    const text = FILES[path];
    if (text === undefined) throw new Error(`ENOENT: ${path}`);
    return text;
  };
  return readCommandLine({ argv, env, cwd: '/srv/site', readText });
}

function configOf(line: CommandLine) {
  if (line.action !== 'serve' && line.action !== 'check') throw new TypeError(line.action);
  return line.resolved.config;
}

function errorOf(argv: readonly string[], env?: Record<string, string>) {
  try {
    read(argv, env);
  } catch (error) {
    if (error instanceof MoonringError) return { code: error.code, message: error.message };
    throw error;
  }
  return { code: 'none', message: '' };
}

t.test('no arguments: the demo with defaults', async (t) => {
  const line = read([]);
  t.equal(line.action, 'serve');
  t.match(configOf(line), { app: null, port: 8080 });
});

t.test('flags long, short, and with =', async (t) => {
  const line = read(['-p', '0', '-n', '2', '--max-body=64k', '--drain-timeout', '5s', 'app.lua']);
  t.match(configOf(line), {
    app: '/srv/site/app.lua',
    port: 0,
    processes: 2,
    maxBody: 65_536,
    drainTimeout: 5000,
  });
  t.equal(configOf(read(['app.lua', '--processes', 'auto'])).processes, 'auto');
  t.equal(configOf(read(['-p', '1', '-p', '2'])).port, 2, 'the last one counts');
});

t.test('an address of another server is a URL', async (t) => {
  t.equal(configOf(read(['--otlp', 'https://example.org/otel'])).otlp, 'https://example.org/otel');
  for (const text of ['localhost:4318', 'ftp://example.org', '/path']) {
    t.match(errorOf(['--otlp', text]), { code: 'ERR_MOONRING_USAGE', message: /--otlp: .*http:/ });
  }
});

t.test('help, version, check', async (t) => {
  t.equal(read(['--version']).action, 'version');
  t.equal(read(['-v']).action, 'version');
  t.equal(read(['-v', '--port', 'nonsense']).action, 'version');
  t.equal(read(['--check', 'app.lua']).action, 'check');
  t.equal(read(['-h', '--port', 'nonsense']).action, 'help', 'help helps whatever else is wrong');
  const help = read(['--help']);
  if (help.action !== 'help') throw new TypeError(help.action);
  for (const spec of OPTIONS.filter((each: OptionSpec) => each.role !== 'argument')) {
    t.match(help.text, flagOf(spec));
  }
  t.match(help.text, /^Usage: moonring \[options\] \[app\]/);
  t.match(help.text, /\nTimeouts:\n/);
  t.match(help.text, /\(default:\s+8080\)/);
  for (const line of help.text.split('\n')) t.ok(line.length <= 100, line);
});

t.test('wrong command lines', async (t) => {
  const wrong: readonly [readonly string[], string][] = [
    [['--prot', '1'], "unknown option '--prot' (Did you mean --port?)"],
    [['-x'], "unknown option '-x'"],
    [['--port'], "option '-p, --port <port|off>' argument missing"],
    [['--port', '-1'], '--port: "-1" is not a whole number'],
    [['a.lua', 'b.lua'], 'too many arguments. Expected 1 argument but got 2.'],
    [['a.lua', 'ctl'], 'too many arguments. Expected 1 argument but got 2.'],
    [['--check=yes'], 'unknown option'],
    [[''], '[app]: the path is empty'],
  ];
  for (const [argv, message] of wrong) {
    t.match(errorOf(argv), { code: 'ERR_MOONRING_USAGE', message }, argv.join(' '));
  }
});

t.test('the config file', async (t) => {
  t.match(configOf(read(['--config', 'good.json'])), { port: 4, maxBody: 1024 ** 2 });
  t.match(configOf(read(['--config', 'good.json', '-p', '5'])), { port: 5, maxBody: 1024 ** 2 });
  t.match(configOf(read([], { MOONRING_CONFIG: 'good.json' })), { port: 4 });
  t.match(errorOf(['--config', 'bad.json']), {
    code: 'ERR_MOONRING_CONFIG',
    message: '/srv/site/bad.json: unknown key "prot" (Did you mean port?)',
  });
  t.match(errorOf(['--config', 'none.json']), {
    code: 'ERR_MOONRING_CONFIG',
    message: 'the config file cannot be read: ENOENT: /srv/site/none.json',
  });
});

t.test('build takes no options', async (t) => {
  t.strictSame(read(['build']), { action: 'build' });
  t.equal(read(['build', '--help']).action, 'help');
  const broken = { MOONRING_PORT: 'none' };
  t.strictSame(read(['build'], broken), { action: 'build' }, 'no configuration is looked at');
  for (const more of [['app.lua'], ['--port', '1']]) {
    const error = errorOf(['build', ...more]);
    t.match(error, { code: 'ERR_MOONRING_USAGE', message: /too many arguments|unknown option/ });
  }
  t.match(configOf(read(['./build'])), { app: '/srv/site/build' }, 'an app may have that name');
});

t.test('a switch can be turned off again, and an old flag still works', async (t) => {
  t.equal(configOf(read(['--watch'])).watch, true);
  t.equal(configOf(read(['--watch', '--no-watch'])).watch, false);
  t.equal(configOf(read(['--no-watch'], { MOONRING_WATCH: 'on' })).watch, false);
  t.equal(configOf(read(['-t', '3'])).threads, 3);
  t.equal(configOf(read(['--workers', '3'])).threads, 3);
  t.equal(configOf(read(['-w', '3'])).threads, 3);
});

t.test('--host may be repeated', async (t) => {
  const line = read(['--host', '127.0.0.1', '--host', '[::1]']);
  t.strictSame(configOf(line).host, ['127.0.0.1', '::1']);
});

t.test('--shared may be repeated', async (t) => {
  const line = read(['--shared', 'a=1m', '--shared', 'b=2m']);
  t.strictSame(
    configOf(line).shared.map(({ name }) => name),
    ['a', 'b'],
  );
});

t.test('--trusted-proxy may be repeated', async (t) => {
  const line = read(['--trusted-proxy', '10.0.0.0/8', '--trusted-proxy', 'unix,::1']);
  t.strictSame(configOf(line).trustedProxy, ['10.0.0.0/8', 'unix', '::1']);
});

t.test('health takes the options of the server', async (t) => {
  const line = read(['health', '--admin', '/run/a.sock', '-p', '1', 'app.lua']);
  t.match(line, { action: 'health', resolved: { config: { port: 1 } } });
  t.equal(read(['--port', '1', 'health']).action, 'health', 'options may come first');
  const help = read(['health', '--help']);
  t.match(help, { action: 'help', text: /^Usage: moonring health/ });
});

t.test('test takes files and directories', async (t) => {
  t.match(read(['test']), { action: 'test', paths: ['.'] });
  t.match(read(['test', '--max-body', '1k', 'a', 'b_test.lua']), {
    action: 'test',
    paths: ['a', 'b_test.lua'],
    resolved: { config: { maxBody: 1024 } },
  });
  t.throws(() => read(['test', '--port', '0']), { code: 'ERR_MOONRING_USAGE' });
});

t.test('ctl takes a command, its number, and a timeout', async (t) => {
  const admin = ['--admin', './a.sock'];
  t.match(read(['ctl', 'scale', '3', ...admin]), {
    action: 'control',
    order: { type: 'scale', processes: 3 },
    timeoutMs: 60_000,
    resolved: { config: { admin: [{ path: '/srv/site/a.sock' }] } },
  });
  t.match(read(['ctl', ...admin, '--timeout', '2s', 'reload']), {
    order: { type: 'reload' },
    timeoutMs: 2000,
  });
  t.match(read(['ctl', '--help']), { action: 'help', text: /status.*reload.*drain.*scale/ });
  const wrong: readonly [readonly string[], string][] = [
    [['ctl'], "missing required argument 'command'"],
    [['ctl', 'dance'], 'Allowed choices are status, reload, drain, scale'],
    [['ctl', 'scale'], 'ctl scale takes a number of reactors'],
    [['ctl', 'scale', '0'], 'ctl scale takes a number of reactors'],
    [['ctl', 'drain', '3'], 'ctl drain takes no argument'],
    [['ctl', 'drain', '--timeout', '3'], '--timeout: "3" has no unit'],
    [['ctl', 'drain', '--port', '3'], "unknown option '--port'"],
  ];
  for (const [argv, message] of wrong) {
    t.match(errorOf(argv), { code: 'ERR_MOONRING_USAGE', message }, argv.join(' '));
  }
});

t.test('serve has a check, and rejects what its app would reject', async (t) => {
  t.match(read(['serve', '--check', 'public']), {
    action: 'check',
    site: { root: '/srv/site/public', index: 'index.html' },
  });
  const wrong: readonly [readonly string[], string][] = [
    [['--index', 'a/b'], '--index: "a/b" is not a file name'],
    [['--index', ''], '--index: "" is not a file name'],
    [['--not-found', ''], '--not-found: the name of the file is empty'],
    [['--cache-control', ''], '--cache-control: "" is not a valid field value'],
    [['--cache-control', 'a\nb'], '--cache-control: "a\\nb" is not a valid field value'],
    [['--immutable', ''], '--immutable: the pattern is empty'],
    [Array(33).fill('--immutable=*'), '--immutable: there are more than 32 patterns'],
  ];
  for (const [argv, message] of wrong) {
    t.match(errorOf(['serve', ...argv]), { code: 'ERR_MOONRING_USAGE', message }, argv.join(' '));
  }
  const help = read(['serve', '--help']);
  t.match(help, { action: 'help', text: /--check/ });
  t.notMatch(help, { text: /--compat/ });
});

t.test('commands for developing a service', async (t) => {
  t.strictSame(read(['init', 'new']), { action: 'init', directory: '/srv/site/new' });
  t.match(errorOf(['init']), { message: "missing required argument 'directory'" });
  t.match(read(['routes', 'app.lua']), {
    action: 'routes',
    resolved: { config: { app: '/srv/site/app.lua' } },
  });
  t.match(read(['--print-config', '-p', '1']), { action: 'print-config' });
  t.match(read(['serve', '--print-config']), { action: 'print-config' });
  t.match(errorOf(['completion', 'ksh']), { message: /bash, zsh, fish/ });
});

t.test('dev implies watch, unless watch was set', async (t) => {
  t.match(configOf(read(['--dev'])), { dev: true, watch: true });
  t.match(configOf(read(['--dev', '--no-watch'])), { dev: true, watch: false });
  t.match(configOf(read([], { MOONRING_DEV: 'on' })), { dev: true, watch: true });
});
