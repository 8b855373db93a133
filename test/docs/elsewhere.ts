import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { parse } from 'yaml';
import { suites } from '../../scripts/suites.mjs';
import { ROOT } from './pages.js';

/*
 * The commands of the pages that are not run where they stand, and what runs them instead. An entry
 * is for one command as it is written; `problemWith` looks whether what it says is so.
 */
export type Elsewhere =
  /** npm with a script, or with suites: they exist, and running them here would run us. */
  | { readonly by: 'npm'; readonly because: string }
  /** A suite, whose program (a file of scripts/) has `does` in it. */
  | { readonly by: 'suite'; readonly suite: string; readonly file: string; readonly does: string }
  /** A job of the workflow, one of whose steps has `does` in it. */
  | { readonly by: 'job'; readonly job: string; readonly does: string };

const ITSELF = { by: 'npm', because: 'it is what runs this' } as const;

export const ELSEWHERE: Readonly<Record<string, Elsewhere>> = {
  'git clone <address> moonring && cd moonring': {
    by: 'suite',
    suite: 'newcomer',
    file: 'scripts/newcomer/machine.mjs',
    does: "['git', 'clone', '--quiet', origin, clone]",
  },
  'npm test': ITSELF,
  'npm test -- unit e2e': ITSELF,
  'npm test -- docs': ITSELF,
  'npm test -- wire': ITSELF,
  'npm test -- native': ITSELF,
  'npm run check': ITSELF,
  'npm run test:asan': ITSELF,
  'npm run test:asan-e2e': ITSELF,
  'npm run test:fuzz': ITSELF,
  'npm run test:tsan-e2e': { by: 'npm', because: 'minutes, and a preloaded runtime' },
  'npm run test:tsan': { by: 'npm', because: 'minutes; run by hand' },
  'npm run format': { by: 'npm', because: 'it changes files; the suites lint and format look' },
  'UPDATE_DOCS=1 npm run test:unit': { by: 'npm', because: 'it changes files; unit compares' },
  'npm pack': installed('npm pack --pack-destination'),
  'npm install ./moonring-0.1.0.tgz': installed('npm install ./'),
  'npx moonring build': installed("'npx moonring build'"),
  'npx moonring app.lua': installed("'app.lua'"),
  'docker build --tag moonring .': {
    by: 'job',
    job: 'image',
    does: 'docker build --tag moonring .',
  },
  'docker run --rm --publish 8080:8080 moonring': {
    by: 'job',
    job: 'image',
    does: '--publish 8080:8080 moonring',
  },
  // The volume is the engine's business; that the entrypoint takes an app is ours.
  [`docker run --rm --publish 8080:8080 --read-only --cap-drop ALL \\
  --volume "$PWD/app:/srv/app:ro" moonring /srv/app`]: {
    by: 'suite',
    suite: 'container',
    file: 'scripts/container/checks.mjs',
    does: "args: ['/app/none.lua']",
  },
  'docker kill --signal HUP <container>': {
    by: 'suite',
    suite: 'container',
    file: 'scripts/container/option-checks.mjs',
    does: "container.signal('SIGHUP')",
  },
  'kubectl apply -k deploy/kubernetes/base': {
    by: 'suite',
    suite: 'kubernetes',
    file: 'scripts/kubernetes-check.mjs',
    does: "'kubectl', ['kustomize', 'deploy/kubernetes/monitored']",
  },
  'npm test -- container': { by: 'npm', because: 'it needs root and minutes' },
  'npm test -- newcomer': { by: 'npm', because: 'it needs root and minutes' },
  'npm test -- kubernetes': { by: 'npm', because: 'it needs kubectl' },
  'cmake --preset fuzz && cmake --build build/fuzz': fuzz("buildNative('fuzz')"),
  'mkdir -p build/fuzz/corpus': fuzz('mkdirSync(join(root, corpus)'),
  'build/fuzz/test/fuzz/native/write_seeds test/wire build/fuzz/corpus': fuzz(
    "'write_seeds'), ['test/wire', corpus]",
  ),
  [`build/fuzz/test/fuzz/native/fuzz_conn -dict=test/fuzz/http.dict -max_len=4096 \\
  -max_total_time=600 build/fuzz/corpus test/fuzz/regression`]: fuzz("'-dict=test/fuzz/http.dict'"),
};

function fuzz(does: string): Elsewhere {
  return { by: 'suite', suite: 'fuzz', file: 'scripts/lib/run-fuzz.mjs', does };
}

function installed(does: string): Elsewhere {
  return { by: 'suite', suite: 'e2e', file: 'test/e2e/installed-package-builds.test.ts', does };
}

/** What is wrong with an entry, `null` if nothing. */
export function problemWith(command: string, entry: Elsewhere): string | null {
  switch (entry.by) {
    case 'npm':
      return problemWithNpm(command);
    case 'suite':
      if (!suiteNames().includes(entry.suite)) return `there is no suite ${entry.suite}`;
      return read(entry.file).includes(entry.does) ? null : `${entry.file} has no ${entry.does}`;
    case 'job': {
      const { jobs } = parse(read('.github/workflows/ci.yml'));
      const steps: { run?: string }[] = jobs[entry.job]?.steps ?? [];
      const does = steps.some(({ run }) => run?.includes(entry.does));
      return does ? null : `no step of the job ${entry.job} has ${entry.does}`;
    }
  }
}

function problemWithNpm(command: string): string | null {
  const { scripts } = JSON.parse(read('package.json'));
  const words = /npm (?:run )?([\w:-]+)(?: -- (.*))?$/.exec(command);
  const [, script = '', rest = ''] = words ?? [];
  if (scripts[script] === undefined) return `package.json has no script "${script}"`;
  const unknown = rest.split(' ').find((name) => name !== '' && !suiteNames().includes(name));
  return unknown === undefined ? null : `there is no suite ${unknown}`;
}

function suiteNames(): string[] {
  return suites.map(({ name }: { readonly name: string }) => name);
}

function read(path: string): string {
  return readFileSync(join(ROOT, path), 'utf8');
}
