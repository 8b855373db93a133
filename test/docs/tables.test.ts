import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { SITE_OPTIONS } from '../../src/master/cli/serve.js';
import { errorRows } from '../../src/shared/errors.js';
import type { OptionSpec } from '../../src/shared/option-spec.js';
import { defaultText } from '../../src/shared/option-values.js';
import { envNamesOf, flagOf, OPTIONS } from '../../src/shared/options.js';
import { MASTER_SIGNALS } from '../../src/shared/signals.js';
import { makeCertificate } from '../e2e/certificate.js';
import { startServer } from '../e2e/server.js';
import { drive } from '../unit/master/supervisor/driver.js';
import { suiteNames } from './elsewhere.js';
import { commandPages, ROOT, trackedFiles } from './pages.js';

/** Flags of other programs that appear on pages. */
const FOREIGN_FLAGS = [
  '--init',
  '--read-only',
  '--cap-drop',
  '--security-opt',
  '--only',
  '--timeout',
  '--static',
  '--rate',
  '--duration',
  '--processes',
  '--report',
  '--restart',
  '--keep',
];
const OWN_PAGES = commandPages().filter((path) => !/^(bench|CONTRIBUTING)/.test(path));

function read(path: string): string {
  return readFileSync(join(ROOT, path), 'utf8');
}

/** Inline code outside of blocks. */
function codeIn(path: string): string[] {
  const prose = read(path).replace(/^```.*?^```/gms, '');
  return [...prose.matchAll(/`([^`]+)`/g)].map(([, code = '']) => code);
}

/** The cells of the first column of the table below a heading. */
function firstColumn(path: string, heading: string): string[] {
  const section = read(path)
    .split(/^##+ /m)
    .find((text) => text.startsWith(`${heading}\n`));
  const rows = section?.match(/^\|.*$/gm) ?? [];
  return rows.slice(2).map((row) => row.split('|')[1]?.trim() ?? '');
}

t.test('every option that a page names exists', async (t) => {
  const ofServe = SITE_OPTIONS.map(({ flags }) => flags.replace(/ .*/, ''));
  const flags = OPTIONS.flatMap((spec: OptionSpec) => [
    flagOf(spec),
    ...(spec.type === 'switch' ? [`--no-${spec.name}`] : []),
    ...(spec.oldName === undefined ? [] : [`--${spec.oldName}`]),
  ]);
  for (const path of OWN_PAGES) {
    for (const flag of codeIn(path).flatMap(
      (code) => code.match(/(?<=^| )--[a-z][a-z-]*/g) ?? [],
    )) {
      if (!FOREIGN_FLAGS.includes(flag))
        t.ok([...flags, ...ofServe].includes(flag), `${path}: ${flag}`);
    }
  }
});

t.test('every variable that a page names exists', async (t) => {
  const developers = /^MOONRING_(ADDON|TEST_\w+|SERVICE_HOST)$/;
  const names = OPTIONS.flatMap((spec: OptionSpec) => envNamesOf(spec));
  for (const path of OWN_PAGES) {
    for (const name of codeIn(path).flatMap((code) => code.match(/\bMOONRING_[A-Z_]+/g) ?? [])) {
      if (!developers.test(name)) t.ok(names.includes(name), `${path}: ${name}`);
    }
  }
});

t.test('a value in brackets after an option is its default', async (t) => {
  let defaults = 0;
  for (const path of OWN_PAGES) {
    for (const [, flag, value = ''] of read(path).matchAll(/`(--[a-z-]+)` \((\d[\w ]*)\)/g)) {
      const spec = OPTIONS.find((each: OptionSpec) => flagOf(each) === flag);
      defaults += 1;
      const standard = spec === undefined ? undefined : defaultText(spec);
      t.equal(value.replace(' ', ''), standard, `${path}: ${flag}`);
    }
  }
  t.ok(defaults > 1);
});

t.test('the table of signals has the signals that the master handles', async (t) => {
  const named = firstColumn('docs/operations.md', 'Signals to the master').join(', ').split(', ');
  t.strictSame(named.map((name) => `SIG${name}`).toSorted(), MASTER_SIGNALS.toSorted());
});

t.test('the table of suites has all of them', async (t) => {
  const named = firstColumn('CONTRIBUTING.md', 'Build and test').join(', ').replaceAll('`', '');
  t.strictSame(named.split(', ').toSorted(), suiteNames().toSorted());
});

t.test('responses of the admin listener are as described', async (t) => {
  // With all options that add metrics.
  const { cert, key } = makeCertificate(t);
  const tls = ['--tls-port', '0', '--tls-cert', cert, '--tls-key', key];
  const every = [...tls, '--shared', 'cache=1m', '--otlp', 'http://127.0.0.1:1'];
  const server = await startServer(t, { args: every });
  const paths = firstColumn('docs/operations.md', 'Readiness').join(', ').replaceAll('`', '');
  t.ok(paths.split(', ').length >= 5);
  for (const path of paths.split(', ')) {
    t.equal((await fetch(`${server.admin}${path}`)).status, 200, path);
  }
  const metrics = await (await fetch(`${server.admin}/metrics`)).text();
  for (const page of OWN_PAGES) {
    const names = codeIn(page).flatMap((code) => code.match(/^(?:moonring|http_server)_\w+/) ?? []);
    for (const name of names) {
      t.ok(metrics.includes(`\n# TYPE ${name} `), `${page}: ${name}`);
    }
  }
});

t.test('every error code has a section with an example', async (t) => {
  const sections = read('docs/errors.md').split(/^### /m);
  for (const { code } of errorRows()) {
    const section = sections.find((text) => text.startsWith(`${code}\n`)) ?? '';
    t.match(section, code === 'ERR_MOONRING_PROTOCOL' ? /speaks protocol/ : /^```text\n/m, code);
  }
});

t.test('the example of a protocol error is the message of the supervisor', async (t) => {
  const driver = drive(1);
  driver.boot();
  driver.say(1, { type: 'hello', protocol: 99, pid: 101 });
  const [last = ''] = driver.exit(1, { code: null, signal: 'SIGKILL' }).slice(-1);
  const message = last.replace('exit ERR_MOONRING_PROTOCOL: ', '');
  t.match(message, /^reactor 0 speaks protocol 99/);
  t.ok(codeIn('docs/errors.md').includes(message), message);
});

t.test('every atomic has a row with its writer, reader and memory order', async (t) => {
  const [, table = ''] = read('docs/ownership.md').split('## Atomics\n');
  const sources = trackedFiles().filter((path) => /^native\/src\/.*\.[ch]$/.test(path));
  const member = /^.*\b(?:_Atomic(?:\([^)]*\))?|atomic_\w+) [^;(]*?(\w+)(?: = \w+)?;/gm;
  let atomics = 0;
  for (const path of sources) {
    for (const [, name = ''] of read(path).matchAll(member)) {
      atomics += 1;
      t.match(table, new RegExp(`\\b${name}\\b`), `${path}: ${name}`);
    }
  }
  t.ok(atomics > 20);
});
