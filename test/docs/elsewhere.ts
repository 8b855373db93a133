import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { repeats, suites } from '../../scripts/suites.mjs';
import { ROOT } from './pages.js';

const NESTED = 'a suite; running it here would run these tests again';
const INSTALLED = 'test/e2e/installed-package-builds.test.ts';
const CONTAINER = 'the suite container';
const PACKAGES = 'the suite packages';
const FUZZ = 'the suite fuzz';

/** Commands of the pages that are not run in place, and what runs them instead. */
export const ELSEWHERE: Readonly<Record<string, string>> = {
  'git clone <address> moonring && cd moonring': 'the suite newcomer',
  'npm test': NESTED,
  'npm test -- unit e2e': NESTED,
  'npm test -- docs': NESTED,
  'npm test -- wire': NESTED,
  'npm test -- native': NESTED,
  'npm test -- container': NESTED,
  'npm test -- newcomer': NESTED,
  'npm run check': NESTED,
  'npm run test:all': NESTED,
  'npm run test:asan': NESTED,
  'npm run test:tsan': NESTED,
  'npm run test:fuzz': NESTED,
  'MOONRING_ADDON=$PWD/packages/linux-x64-gnu/moonring.node npm test -- e2e': NESTED,
  'npm run format': 'the suites lint and format check what it changes',
  'UPDATE_DOCS=1 npm run test:unit': 'the suite unit compares what it writes',
  // Through the links of the copy it would write all of dist/ again, which other tests are running.
  'npm run build:ts': 'the set-up of npm test compiles the same way',
  'npm run packages': PACKAGES,
  'npm install ./packages/moonring-0.1.0.tgz ./packages/moonring-linux-x64-gnu-0.1.0.tgz': PACKAGES,
  'npm pack': INSTALLED,
  'npm install ./moonring-0.1.0.tgz': INSTALLED,
  'npx moonring build': INSTALLED,
  'npx moonring app.lua': INSTALLED,
  'node dist/master.js serve ./public': 'test/e2e/files-are-served.test.ts',
  'docker build --tag first .': CONTAINER,
  'docker run --rm --publish 8080:8080 first': CONTAINER,
  'docker build --tag moonring .': CONTAINER,
  'docker run --rm --publish 8080:8080 moonring': CONTAINER,
  [`docker run --rm --publish 8080:8080 --read-only --cap-drop ALL \\
  --volume "$PWD/app:/srv/app:ro" moonring /srv/app`]: CONTAINER,
  'docker kill --signal HUP <container>': CONTAINER,
  'kubectl apply -k deploy/kubernetes/base': 'the job manifests of the workflow',
  'cmake --preset fuzz && cmake --build build/fuzz': FUZZ,
  'mkdir -p build/fuzz/corpus': FUZZ,
  'build/fuzz/test/fuzz/native/write_seeds test/wire build/fuzz/corpus': FUZZ,
  [`build/fuzz/test/fuzz/native/fuzz_conn -dict=test/fuzz/http.dict -max_len=4096 \\
  -max_total_time=600 build/fuzz/corpus test/fuzz/regression`]: FUZZ,
};

/** The problem of an npm command, `null` if it has none. */
export function problemWith(command: string): string | null {
  const words = /^(?:\S+=\S+ )?npm (?:run )?([\w:-]+)(?: -- (.*))?$/.exec(command);
  const [, script = '', rest = ''] = words ?? [];
  if (words === null || ['pack', 'install'].includes(script.split(' ')[0] ?? '')) return null;
  const { scripts } = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8'));
  if (scripts[script] === undefined) return `package.json has no script "${script}"`;
  const unknown = rest.split(' ').find((name) => name !== '' && !suiteNames().includes(name));
  return unknown === undefined ? null : `there is no suite ${unknown}`;
}

export function suiteNames(): string[] {
  return Object.keys({ ...suites, ...repeats });
}
