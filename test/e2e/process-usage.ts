import { existsSync, readdirSync, readFileSync } from 'node:fs';

/* Resources of a process, from /proc: Linux only. */

/** Why a test that needs these figures cannot run here; false if it can. */
export const noUsage = existsSync('/proc/self/fd') ? false : 'needs /proc';

// sysconf(_SC_CLK_TCK): 100 on every Linux that Node runs on.
const MS_PER_TICK = 10;

export function descriptorsOf(pid: number): number {
  return readdirSync(`/proc/${pid}/fd`).length;
}

/** CPU time of all threads of the process. */
export function cpuMsOf(pid: number): number {
  const stat = readFileSync(`/proc/${pid}/stat`, 'latin1');
  // The command name before the last bracket may itself contain spaces and brackets.
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  return (Number(fields[11]) + Number(fields[12])) * MS_PER_TICK;
}

/** Resident memory of the process. */
export function residentBytesOf(pid: number): number {
  const status = readFileSync(`/proc/${pid}/status`, 'latin1');
  return Number(/^VmRSS:\s+(\d+) kB$/m.exec(status)?.[1]) * 1024;
}

/** Virtual memory of the process in bytes. */
export function memoryOf(pid: number): number {
  const status = readFileSync(`/proc/${pid}/status`, 'latin1');
  return Number(/^VmRSS:\s+(\d+)/m.exec(status)?.[1]) * 1024;
}
