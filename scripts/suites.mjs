/*
 * The test suites, in the order in which they run: cheap and informative ones first. Each resolves
 * to { passed, failed, output, skipped? }: single tests, not files.
 */
import { buildNative } from './lib/native-build.mjs';
import { runChecker, runCtest, runFuzz, runSanitizedServer, runTap } from './lib/run-tests.mjs';
import { buildTypeScript } from './lib/typescript-build.mjs';

/** The fuzzers that send the most varied bytes. */
const underAsan = [
  'test/wire/cases-over-tcp.test.ts',
  'test/e2e/bodies-of-every-size.test.ts',
  'test/e2e/refusal-reaches-a-sender.test.ts',
  'test/e2e/mutated-requests.test.ts',
  'test/e2e/drain-exits-zero.test.ts',
  'test/e2e/http-client-errors.test.ts',
  'test/e2e/clients-that-leave.test.ts',
  'test/e2e/sockets-of-handlers.test.ts',
  'test/e2e/tls-of-sockets.test.ts',
  'test/e2e/ngx-raw-sockets.test.ts',
];
/** The tests with the most concurrency: workers, scaling, reload, drain. */
const underTsan = [
  'test/e2e/control-socket.test.ts',
  'test/e2e/stuck-handlers.test.ts',
  'test/e2e/background-tasks.test.ts',
  'test/e2e/drain-under-load.test.ts',
  'test/e2e/sockets-of-handlers.test.ts',
];

const check = (project) => runChecker('node_modules/typescript/bin/tsc', '-p', project);

export const suites = {
  includes: () => runChecker('scripts/check-includes.mjs'),
  types: async () => {
    // A test imports the built package, as its users do.
    await buildTypeScript();
    const [tests, load] = await Promise.all(
      ['tsconfig.test.json', 'load/tsconfig.json'].map(check),
    );
    return {
      passed: tests.passed + load.passed,
      failed: tests.failed + load.failed,
      output: tests.output + load.output,
    };
  },
  lint: () => runChecker('node_modules/@biomejs/biome/bin/biome', 'ci', '--colors=off'),
  format: () => runChecker('scripts/format-native.mjs'),
  native: () => runCtest('asan'),
  unit: () => runTap('test/unit', 2),
  wire: () => runTap('test/wire', 1),
  fuzz: () => runFuzz(5),
  e2e: () => runTap('test/e2e', 4),
  websocket: () => runChecker('scripts/websocket-check.mjs', '--short'),
  docs: async () => {
    await buildNative('release', ['httpserver', 'moonring_core']);
    await buildNative('asan');
    return runTap('test/docs', 2);
  },
  'asan-e2e': () => runSanitizedServer('asan', underAsan, 2),
};
/** Suites that repeat others in another environment, or are slow. */
export const repeats = {
  load: () => runTap('test/load', 1),
  autobahn: () => runChecker('scripts/websocket-check.mjs'),
  tls: () => runChecker('scripts/tls-check.mjs'),
  openresty: () => runChecker('test/openresty/run.mjs', '--compare'),
  'native-tsan': () => runCtest('tsan'),
  'tsan-e2e': () => runSanitizedServer('tsan', underTsan, 1),
  // As in `e2e`, for a minute each.
  'redis-soak': () =>
    runTap(['test/e2e/redis-failures.test.ts'], 1, { env: { REDIS_SECONDS: '60' } }),
  // As in `e2e`, with all kinds of server, and 20 crashes of each kind on each.
  'crash-table': () =>
    runTap(['test/e2e/crashes-lose-no-connection.test.ts'], 1, {
      env: { CRASHES: '20', RANDOM_ENDS: '200' },
      timeoutSeconds: 3600,
    }),
  shared: () => runChecker('scripts/shared-check.mjs', '60'),
  container: () => runChecker('scripts/container-check.mjs'),
  newcomer: () => runChecker('scripts/newcomer-check.mjs'),
  'node-versions': () => runChecker('scripts/node-versions-check.mjs'),
  cross: () => runChecker('scripts/cross-check.mjs'),
  packages: () => runChecker('scripts/packages-check.mjs'),
};

/** Suites that start no server. */
export const withoutServer = ['includes', 'types', 'lint', 'format', 'native', 'fuzz'];
