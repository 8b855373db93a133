import { readdirSync, readFileSync, statSync } from 'node:fs';
import type { Status } from './status.js';

/** Resource usage of a server process, according to the system. */
export interface ProcessUsage {
  /** `master`, or `reactor-` and its number. */
  readonly process: string;
  readonly cpuUserSeconds: number;
  readonly cpuSystemSeconds: number;
  readonly cpuSeconds: number;
  readonly startTimeSeconds: number;
  readonly residentBytes: number;
  readonly virtualBytes: number;
  readonly openFds: number;
  readonly maxFds: number;
}

/** Of the master and of each reactor that has a process. Empty without /proc. */
export function usageOf({ pid, reactors }: Pick<Status, 'pid' | 'reactors'>): ProcessUsage[] {
  const all = [
    { name: 'master', pid },
    ...reactors.map(({ reactor, pid }) => ({ name: `reactor-${reactor}`, pid })),
  ];
  return all.flatMap(({ name, pid }) => (pid === null ? [] : (readProcessUsage(name, pid) ?? [])));
}

/** USER_HZ: 100 on every architecture of Linux that Node runs on. */
const TICKS_PER_SECOND = 100;

/** Reads /proc. `null` without it, and for a process that has ended. */
export function readProcessUsage(process: string, pid: number): ProcessUsage | null {
  try {
    // The name in brackets may have spaces in it.
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8')
      .replace(/^.*\) /s, '')
      .split(' ');
    const status = readFileSync(`/proc/${pid}/status`, 'utf8');
    const limits = readFileSync(`/proc/${pid}/limits`, 'utf8');
    const seconds = (field: number) => Number(stat[field - 3]) / TICKS_PER_SECOND;
    const kibibytes = (name: string) =>
      Number(new RegExp(`^${name}:\\s*(\\d+)`, 'm').exec(status)?.[1]);
    const [cpuUserSeconds, cpuSystemSeconds] = [seconds(14), seconds(15)];
    return {
      process,
      cpuUserSeconds,
      cpuSystemSeconds,
      cpuSeconds: cpuUserSeconds + cpuSystemSeconds,
      startTimeSeconds: bootTimeSeconds() + seconds(22),
      residentBytes: kibibytes('VmRSS') * 1024,
      virtualBytes: kibibytes('VmSize') * 1024,
      openFds: openDescriptors(pid),
      maxFds: Number(/^Max open files\s+(\d+)/m.exec(limits)?.[1]),
    };
  } catch {
    return null;
  }
}

function bootTimeSeconds(): number {
  return Number(/^btime (\d+)/m.exec(readFileSync('/proc/stat', 'utf8'))?.[1]);
}

/** Since Linux 6.2 the size of the directory is the number of entries; counting 65 536 takes a
 * while. */
function openDescriptors(pid: number): number {
  const { size } = statSync(`/proc/${pid}/fd`);
  return size > 0 ? size : readdirSync(`/proc/${pid}/fd`).length;
}
