/*
 * The test suites, in the order in which they run: first what is cheap and says most.
 *
 * run() resolves to { passed, failed, output, skipped? }: single tests, not files. `output` is
 * shown on failure only; `skipped` says why there was nothing to run.
 */
import { buildNative } from './lib/native-build.mjs';
import { runAsanServer } from './lib/run-asan-server.mjs';
import { runChecker } from './lib/run-checker.mjs';
import { runCtest } from './lib/run-ctest.mjs';
import { runFuzz } from './lib/run-fuzz.mjs';
import { runTap } from './lib/run-tap.mjs';
import { runTsanServer } from './lib/run-tsan-server.mjs';
import { buildTypeScript } from './lib/typescript-build.mjs';
import { setUpServer } from './setup.mjs';

const node = process.execPath;

export const suites = [
  {
    name: 'includes',
    run: () => runChecker(node, ['scripts/check-includes.mjs']),
  },
  {
    name: 'types',
    run: async () => {
      // A test imports the built package, as its users do.
      await buildTypeScript();
      return runTypeCheckers(['tsconfig.test.json', 'load/tsconfig.json']);
    },
  },
  {
    name: 'lint',
    run: () => runChecker(node, ['node_modules/@biomejs/biome/bin/biome', 'ci', '--colors=off']),
  },
  {
    name: 'format',
    run: () => runChecker(node, ['scripts/format-native.mjs']),
  },
  {
    name: 'native',
    run: () => runCtest('release'),
  },
  {
    name: 'native-asan',
    run: () => runCtest('asan'),
  },
  {
    name: 'native-tsan',
    onlyByName: true,
    run: () => runCtest('tsan'),
  },
  {
    name: 'unit',
    run: async () => {
      await setUpServer();
      return runTap('test/unit', 2);
    },
  },
  {
    name: 'wire',
    run: async () => {
      await setUpServer();
      return runTap('test/wire', 1);
    },
  },
  {
    name: 'fuzz',
    run: () => runFuzz(10),
  },
  {
    name: 'e2e',
    run: async () => {
      await setUpServer();
      return runTap('test/e2e', 1);
    },
  },
  {
    name: 'docs',
    run: async () => {
      await setUpServer();
      await buildNative('release', ['httpserver', 'moonring_core']);
      // A page is one test, and takes as long as a reader in a hurry.
      return runTap('test/docs', 2, { timeoutSeconds: 180 });
    },
  },
  {
    name: 'load',
    run: async () => {
      await setUpServer();
      return runTap('test/load', 1);
    },
  },
  {
    name: 'container',
    onlyByName: true,
    run: () => runChecker(node, ['scripts/container-check.mjs']),
  },
  {
    name: 'kubernetes',
    onlyByName: true,
    run: () => runChecker(node, ['scripts/kubernetes-check.mjs']),
  },
  {
    name: 'cross',
    onlyByName: true,
    run: () => runChecker(node, ['scripts/cross-check.mjs']),
  },
  {
    name: 'newcomer',
    onlyByName: true,
    run: () => runChecker(node, ['scripts/newcomer-check.mjs']),
  },
  {
    name: 'asan-e2e',
    run: async () => {
      await setUpServer();
      return runAsanServer();
    },
  },
  {
    name: 'tsan-e2e',
    onlyByName: true,
    run: async () => {
      await setUpServer();
      return runTsanServer();
    },
  },
];

/** One test a project. */
async function runTypeCheckers(projects) {
  const results = await Promise.all(
    projects.map((project) => runChecker(node, ['node_modules/typescript/bin/tsc', '-p', project])),
  );
  const total = { passed: 0, failed: 0, output: '' };
  for (const { passed, failed, output } of results) {
    total.passed += passed;
    total.failed += failed;
    total.output += output;
  }
  return total;
}
