// CPU time and threads of processes, from /proc. Linux only.
import { readdirSync, readFileSync } from 'node:fs';

// sysconf(_SC_CLK_TCK): 100 on every Linux that Node runs on.
const TICKS_PER_SECOND = 100;

// The fields of a stat file after the command name, which may itself hold spaces and brackets.
function readStat(path) {
  const text = readFileSync(path, 'latin1');
  const fields = text.slice(text.lastIndexOf(')') + 2).split(' ');
  return { state: fields[0], parentPid: Number(fields[1]), cpu: cpuOf(fields) };
}

function cpuOf(fields) {
  return {
    userSeconds: Number(fields[11]) / TICKS_PER_SECOND,
    systemSeconds: Number(fields[12]) / TICKS_PER_SECOND,
  };
}

function numericEntries(path) {
  return readdirSync(path)
    .filter((name) => /^\d+$/.test(name))
    .map(Number);
}

/** The process and everything it started, directly or not, that is still alive. */
export function processTree(rootPid) {
  const childrenOf = new Map();
  for (const pid of numericEntries('/proc')) {
    try {
      const { parentPid } = readStat(`/proc/${pid}/stat`);
      childrenOf.set(parentPid, [...(childrenOf.get(parentPid) ?? []), pid]);
    } catch {
      // It ended while we looked.
    }
  }
  const tree = [rootPid];
  for (const pid of tree) {
    tree.push(...(childrenOf.get(pid) ?? []));
  }
  return tree;
}

/** User and system seconds spent so far by all of `pids` together. */
export function cpuSeconds(pids) {
  const total = { userSeconds: 0, systemSeconds: 0 };
  for (const pid of pids) {
    const { cpu } = readStat(`/proc/${pid}/stat`);
    total.userSeconds += cpu.userSeconds;
    total.systemSeconds += cpu.systemSeconds;
  }
  return total;
}

/** The thread of `pid` that has spent the most CPU time between two calls of `threadTimes`. */
export function busiestThread(before, after) {
  let busiest = { threadId: 0, nanoseconds: -1 };
  for (const [threadId, nanoseconds] of after) {
    const spent = nanoseconds - (before.get(threadId) ?? 0);
    if (spent > busiest.nanoseconds) {
      busiest = { threadId, nanoseconds: spent };
    }
  }
  return busiest.threadId;
}

/** CPU nanoseconds by thread id. */
export function threadTimes(pid) {
  const times = new Map();
  for (const threadId of numericEntries(`/proc/${pid}/task`)) {
    const schedule = readFileSync(`/proc/${pid}/task/${threadId}/schedstat`, 'latin1');
    times.set(threadId, Number(schedule.split(' ')[0]));
  }
  return times;
}

/** Times that threads of `pids` have given up a core, by themselves or not. */
export function switchCount(pids) {
  let count = 0;
  for (const pid of pids) {
    for (const threadId of numericEntries(`/proc/${pid}/task`)) {
      const status = readFileSync(`/proc/${pid}/task/${threadId}/status`, 'latin1');
      for (const [, switches] of status.matchAll(/ctxt_switches:\s+(\d+)/g))
        count += Number(switches);
    }
  }
  return count;
}
