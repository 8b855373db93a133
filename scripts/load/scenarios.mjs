/*
 * What each script of load/ needs on the server's side. `during` runs beside k6; `signal` (an
 * AbortSignal) aborts when k6 has finished; the returned text is printed in the report.
 */
import { setTimeout as delay } from 'node:timers/promises';

/** Long enough for one readiness check per second, and a slow machine. */
const drainDelay = '3s';

export const scenarios = {
  smoke: { seconds: 30 },
  load: { seconds: 120 },
  stress: { seconds: 180 },
  spike: { seconds: 60 },
  soak: { seconds: 3600, mustNotGrow: true },
  breakpoint: { seconds: 300, endsAtThreshold: true },
  mixed: { seconds: 60, app: 'load/apps/mixed.lua' },
  reload: { seconds: 60, during: reloadAgainAndAgain },
  drain: {
    seconds: 60,
    servers: 2,
    args: ['--drain-delay', drainDelay],
    during: rollAgainAndAgain,
  },
};

/**
 * HUP every tenth second, or four times in a short run. Reloads requested while one is in progress
 * are merged into one more, so fewer may finish than were requested; a rejected one is a failure.
 */
async function reloadAgainAndAgain({ servers, seconds, signal }) {
  const pauseMs = Math.min(10, seconds / 5) * 1000;
  const [server] = servers;
  let sent = 0;
  while (await pause(pauseMs, signal)) {
    server.signal('SIGHUP');
    sent += 1;
  }
  const lines = (pattern) => server.lines.filter((line) => pattern.test(line)).length;
  const finished = lines(/"msg":"reloaded"/);
  const refused = lines(/"level":[456]0.*"msg":"[^"]*reload/);
  const facts = [`${sent} reloads asked for, ${finished} finished, ${refused} refused`];
  return { facts, failed: finished === 0 || refused > 0 };
}

/** Stops one server after the other with TERM and starts its successor on the same port. */
async function rollAgainAndAgain({ servers, restart, seconds, signal }) {
  const pauseMs = Math.min(5, seconds / 8) * 1000;
  const exits = [];
  for (let turn = 0; await pause(pauseMs, signal); turn += 1) {
    const index = turn % servers.length;
    exits.push((await servers[index].stop()).code);
    await restart(index);
  }
  const bad = exits.filter((code) => code !== 0).length;
  return { facts: [`${exits.length} drains, ${bad} of them without exit code 0`], failed: bad > 0 };
}

/** True after the time, false at once if the run has ended. */
async function pause(ms, signal) {
  try {
    await delay(ms, undefined, { signal });
    return true;
  } catch {
    return false;
  }
}
