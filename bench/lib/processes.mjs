// CPU time, context switches, threads and memory of processes, from /proc. Linux only.
import { readdirSync, readFileSync } from 'node:fs';

// sysconf(_SC_CLK_TCK): 100 on every Linux that Node runs on.
const TICKS_PER_SECOND = 100;

const numbers = (path) => readdirSync(path).filter((name) => /^\d+$/.test(name));

// The fields of a stat file after the command name, which may itself contain spaces and brackets.
function statOf(pid) {
  const text = readFileSync(`/proc/${pid}/stat`, 'latin1');
  return text.slice(text.lastIndexOf(')') + 2).split(' ');
}

/** The process and all its live descendants. */
export function processTree(root) {
  const children = new Map();
  for (const pid of numbers('/proc')) {
    try {
      const parent = Number(statOf(pid)[1]);
      children.set(parent, [...(children.get(parent) ?? []), Number(pid)]);
    } catch {
      // It has exited in the meantime.
    }
  }
  const tree = [root];
  for (const pid of tree) tree.push(...(children.get(pid) ?? []));
  return tree;
}

/**
 * The usage of `pids` so far: microseconds of CPU time and context switches. The split into user
 * and system time is in hundredths of a second, the sum over the live threads in nanoseconds.
 */
export function spentBy(pids) {
  const spent = { userMicros: 0, systemMicros: 0, cpuMicros: 0, switches: 0 };
  for (const pid of pids) {
    for (const time of threadTimes(pid).values()) spent.cpuMicros += time / 1000;
    const stat = statOf(pid);
    spent.userMicros += (Number(stat[11]) / TICKS_PER_SECOND) * 1e6;
    spent.systemMicros += (Number(stat[12]) / TICKS_PER_SECOND) * 1e6;
    for (const thread of numbers(`/proc/${pid}/task`)) {
      const status = readFileSync(`/proc/${pid}/task/${thread}/status`, 'latin1');
      for (const [, count] of status.matchAll(/ctxt_switches:\s+(\d+)/g)) {
        spent.switches += Number(count);
      }
    }
  }
  return spent;
}

/** CPU nanoseconds by thread id. */
export function threadTimes(pid) {
  const times = numbers(`/proc/${pid}/task`).map((thread) => {
    const schedule = readFileSync(`/proc/${pid}/task/${thread}/schedstat`, 'latin1');
    return [Number(thread), Number(schedule.split(' ')[0])];
  });
  return new Map(times);
}

export const descriptorsOf = (pid) => readdirSync(`/proc/${pid}/fd`).length;

/** Bytes: `resident`, and `private`, the pages that no other process maps. */
export function memoryOf(pid) {
  const text = readFileSync(`/proc/${pid}/smaps_rollup`, 'latin1');
  const bytes = (field) => Number(new RegExp(`^${field}:\\s+(\\d+) kB$`, 'm').exec(text)[1]) * 1024;
  return { resident: bytes('Rss'), private: bytes('Private_Clean') + bytes('Private_Dirty') };
}

/** The pid of a master's only reactor. */
export function reactorOf(master) {
  return reactorsOf(master)[0];
}

/** Its reactors, without their keepers, which have the same command lines. */
export function reactorsOf(master) {
  return processTree(master).filter((pid) => {
    try {
      const line = readFileSync(`/proc/${pid}/cmdline`, 'latin1');
      return line.includes('reactor.js') && Number(statOf(pid)[1]) === master;
    } catch {
      return false;
    }
  });
}

/** Waits for `condition`, for at most two seconds. */
export async function until(what, condition) {
  for (let attempt = 0; attempt < 200; attempt += 1) {
    if (condition()) return;
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
  throw new Error(`It did not happen: ${what}`);
}
