// A Moonring server with one reactor, for the benchmarks that look inside it.

import { readFileSync } from 'node:fs';
import { setTimeout as delay } from 'node:timers/promises';
import { busiestThread, processTree, threadTimes } from './process-tree.mjs';
import { startMoonring } from './programs.mjs';
import { runFaultlessWrk } from './wrk.mjs';

const ATTEMPTS = 200;
const ATTEMPT_INTERVAL_MS = 10;

function isReactor(pid) {
  try {
    return readFileSync(`/proc/${pid}/cmdline`, 'latin1').includes('reactor.js');
  } catch {
    return false;
  }
}

/** The pid of the one reactor of the master `masterPid`. */
export function reactorPid(masterPid) {
  const pid = processTree(masterPid).find(isReactor);
  if (pid === undefined) {
    throw new Error('The server has no reactor process.');
  }
  return pid;
}

/**
 * Serves `app`, warms it up so that its traces are compiled, and names its reactor and IO thread.
 */
export async function startWarmReactor(app, { path = '/', environment = {}, options = [] } = {}) {
  const server = await startMoonring(app, { environment, options });
  const url = `http://127.0.0.1:${server.port}${path}`;
  const pid = reactorPid(server.pid);
  const before = threadTimes(pid);
  await runFaultlessWrk({ url, seconds: 1 });
  await runFaultlessWrk({ url, seconds: 1, depth: 16 });
  const ioThread = busiestThread(before, threadTimes(pid));
  return { ...server, url, reactorPid: pid, ioThread };
}

/** Asks `condition` until it is true; ends with an error that names `what` after two seconds. */
export async function until(what, condition) {
  for (let attempt = 0; attempt < ATTEMPTS; attempt++) {
    if (condition()) {
      return;
    }
    await delay(ATTEMPT_INTERVAL_MS);
  }
  throw new Error(`Waited in vain: ${what}`);
}
