import t from 'tap';
import { printConfig } from '../../../../src/master/cli/print-config.js';
import { resolveConfig } from '../../../../src/shared/config.js';
import { parseText } from '../../../../src/shared/option-values.js';
import { keyOf, settings } from '../../../../src/shared/options.js';

function lines(inputs: Partial<Parameters<typeof resolveConfig>[0]>): Map<string, string> {
  const resolved = resolveConfig({ flags: {}, env: {}, file: null, cwd: '/srv', ...inputs });
  const rows = printConfig(resolved).trimEnd().split('\n');
  return new Map(rows.map((row) => [row.split(' ')[0] ?? '', row.replace(/^\S+ +/, '')]));
}

t.test('each option has a line with its value and its origin', async (t) => {
  const found = lines({
    flags: { app: 'app.lua', maxBody: '1m', dev: 'on' },
    env: { MOONRING_PORT: '81', WEB_CONCURRENCY: '3' },
    file: { path: '/etc/moonring.json', text: '{"udsMode": "0600", "shared": {"cache": "16m"}}' },
  });
  t.strictSame([...found.keys()], settings().map(keyOf));
  const expected: Readonly<Record<string, RegExp>> = {
    app: /^\/srv\/app\.lua +command line, \[app\]$/,
    maxBody: /^1m +command line, --max-body$/,
    port: /^81 +environment, MOONRING_PORT$/,
    processes: /^3 +environment, WEB_CONCURRENCY$/,
    udsMode: /^0600 +file, "udsMode" in \/etc\/moonring\.json$/,
    shared: /^cache=16m +file, "shared" in \/etc\/moonring\.json$/,
    handlerTimeout: /^30s +default$/,
    admin: /^127\.0\.0\.1:9464 +default$/,
    tlsCert: /^none +default$/,
    dev: /^on +command line, --dev$/,
    watch: /^on +command line, --dev$/,
    pin: /^off +default$/,
  };
  for (const [key, pattern] of Object.entries(expected)) t.match(found.get(key), pattern, key);
});

t.test('a printed value can be used as input', async (t) => {
  const found = lines({});
  for (const spec of settings()) {
    if ('absent' in spec) continue;
    const text = (found.get(keyOf(spec)) ?? '').split(/ {2,}/)[0] ?? '';
    t.ok(parseText(spec, text).ok, `${keyOf(spec)}: ${text}`);
  }
});
