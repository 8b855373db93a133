// What bench/abuse.mjs runs. Each scenario gets { server: { port, reactorPid }, check, print } and
// has a server of its own, started with `options`. check(ok, text) decides about pass or fail.
import { runAttack, startAttack } from './attack.mjs';
import { answers, latencies, quantile } from './normal-client.mjs';
import { STAGES } from './reset-everywhere.mjs';
import { becomes, descriptors, residentMib, settle, usage } from './usage.mjs';

const HEADER_TIMEOUT_MS = 5000;
const MEASURE_MS = 3000;
const TIMES = 3;
const WARM_UP = 300;
const REST_MS = 3000;
/** jemalloc gives pages back a second after they were freed; a loaded machine needs longer. */
const PATIENCE_MS = 15_000;
/** What a reactor keeps of a burst on purpose: the exchanges and buffers of a busy moment. */
const KEPT_MIB = 12;
/** The structures of a connection at the peak stay, to be used again. */
const KEPT_KIB_A_CONNECTION = 2.5;

const slackMib = (connections) => KEPT_MIB + (connections * KEPT_KIB_A_CONNECTION) / 1024;
const ms = (value) => `${value.toFixed(value < 10 ? 2 : 0)} ms`;
const mib = (value) => `${value.toFixed(1)} MiB`;

/** The end of every scenario: all is as before, and the server answers. */
async function checkRecovery({ server, check }, before, connections) {
  const slack = slackMib(connections);
  const after = await settle(server.reactorPid, before, {
    slackMib: slack,
    patienceMs: PATIENCE_MS,
  });
  check(
    after.descriptors <= before.descriptors,
    `descriptors: ${before.descriptors} before, ${after.descriptors} after`,
  );
  check(
    after.residentMib <= before.residentMib + slack,
    `memory: ${mib(before.residentMib)} before, ${mib(after.residentMib)} after ` +
      `${ms(after.tookMs)} (bound: ${mib(slack)} more)`,
  );
  check(await answers(server.port), 'the server answers');
  return after;
}

async function slowloris(run, { count }) {
  const { server, check, print } = run;
  await latencies(server.port, 1000);
  const before = usage(server.reactorPid);
  const alone = await latencies(server.port, MEASURE_MS);
  const attack = await startAttack('dripHeaders', {
    processes: 2,
    count,
    port: server.port,
    intervalMs: 1000,
  });
  const among = await latencies(server.port, MEASURE_MS);
  const held = descriptors(server.reactorPid) - before.descriptors;
  print(`${held} slow connections were open while the normal client was measured`);
  const figures = await attack.done;
  for (const q of [0.5, 0.99]) {
    const [a, b] = [quantile(alone, q), quantile(among, q)];
    const text = `p${q * 100} of a normal client: ${ms(a)} alone, ${ms(b)} during, ${(b / a).toFixed(2)} ×`;
    if (q === 0.99) check(b <= TIMES * a, `${text} (target: ${TIMES} ×)`);
    else print(text);
  }
  check(held >= count * 0.99, `${held} of ${count} were open together`);
  check(figures.refused >= count * 0.99, `${figures.refused} of ${count} were told 408`);
  // Two processes: the sum of their times is twice the mean.
  const lastMs = figures.lastGoneMs / 2;
  check(
    lastMs < 2 * HEADER_TIMEOUT_MS + figures.openMs,
    `all were gone ${ms(lastMs)} after the first came (header timeout: ${ms(HEADER_TIMEOUT_MS)})`,
  );
  await checkRecovery(run, before, count);
}

async function garbage(run, { seconds }) {
  const { server, print } = run;
  await latencies(server.port, 1000);
  const before = usage(server.reactorPid);
  const alone = await latencies(server.port, MEASURE_MS);
  const attack = await startAttack('sendGarbage', {
    count: 8,
    port: server.port,
    bytesPerSecond: 1024 * 1024,
    durationMs: seconds * 1000,
  });
  const among = await latencies(server.port, (seconds * 1000) / 2);
  const { bytes, tookMs, connections, refused } = await attack.done;
  const rate = bytes / 1024 / 1024 / (tookMs / 1000);
  print(
    `${rate.toFixed(2)} MiB/s for ${ms(tookMs)}: ${connections} connections, ${refused} refused`,
  );
  const [a, b] = [quantile(alone, 0.99), quantile(among, 0.99)];
  print(`p99 of a normal client: ${ms(a)} alone, ${ms(b)} during, ${(b / a).toFixed(2)} ×`);
  run.check(refused > 0 && connections > 8, 'garbage is refused and its connections are closed');
  await checkRecovery(run, before, 8);
}

async function halfRequests(run, { count, bytes }) {
  const { server, check, print } = run;
  await latencies(server.port, 1000);
  const before = usage(server.reactorPid);
  let first;
  for (const round of ['first', 'second']) {
    const attack = await startAttack('holdHalfRequests', {
      processes: 4,
      count,
      bytes,
      port: server.port,
    });
    const all = before.descriptors + count;
    const held = await becomes(() => descriptors(server.reactorPid) >= all, PATIENCE_MS);
    const peak = residentMib(server.reactorPid) - before.residentMib;
    print(
      `${round} time: ${descriptors(server.reactorPid) - before.descriptors} open, ${mib(peak)} more ` +
        `(${((peak * 1024) / count).toFixed(1)} KiB each)`,
    );
    check(held, `all ${count} were open together`);
    check(await answers(server.port), 'the server answers meanwhile');
    attack.end();
    await attack.done;
    const after = await checkRecovery(run, before, count);
    if (first) {
      const { residentMib: now } = await settle(server.reactorPid, first, {
        slackMib: KEPT_MIB,
        patienceMs: PATIENCE_MS,
      });
      const grown = now - first.residentMib;
      check(grown <= KEPT_MIB, `the second time leaves ${mib(grown)} more than the first`);
    }
    first = after;
  }
}

async function resets(run, { count }) {
  const { server, check, print } = run;
  // Once unmeasured: slow answers move to the workers, each of which has the app loaded then.
  for (const stage of STAGES) {
    await runAttack('resetEverywhere', { count: WARM_UP, port: server.port, stage });
  }
  await latencies(server.port, REST_MS);
  const before = usage(server.reactorPid);
  for (const stage of STAGES) {
    const { resets: made } = await runAttack('resetEverywhere', {
      count,
      port: server.port,
      stage,
    });
    print(`${made} resets ${stage}`);
    check(made === count, `all ${count} were made`);
    await checkRecovery(run, before, 64);
  }
}

export const scenarios = [
  {
    name: 'slowloris',
    sizes: { count: 2000 },
    options: ['--header-timeout', `${HEADER_TIMEOUT_MS}ms`],
    run: slowloris,
  },
  { name: 'garbage', sizes: { seconds: 6 }, options: [], run: garbage },
  {
    name: 'half-requests',
    sizes: { count: 10_000, bytes: 16 },
    options: ['--header-timeout', '60s'],
    run: halfRequests,
  },
  {
    name: 'full-rings',
    sizes: { count: 10_000, bytes: 7000 },
    options: ['--header-timeout', '60s'],
    run: halfRequests,
  },
  { name: 'resets', sizes: { count: 2000 }, options: [], run: resets },
];
