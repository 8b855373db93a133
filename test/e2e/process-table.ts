import { execFileSync } from 'node:child_process';
import { existsSync, readdirSync, readFileSync } from 'node:fs';

export interface ProcessRow {
  readonly pid: number;
  readonly parentPid: number;
  /** One letter as in ps; Z is a process that has exited and was not waited for. */
  readonly state: string;
  readonly group: number;
}

/**
 * Whether the process is running. A process that has exited is not, even if its parent has not
 * waited for it yet.
 */
export function isRunning(pid: number): boolean {
  const row = processTable().find((candidate) => candidate.pid === pid);
  return row !== undefined && row.state !== 'Z' && row.state !== 'X';
}

/** The running children of a process. */
export function childrenOf(parentPid: number): number[] {
  return processTable()
    .filter((row) => row.parentPid === parentPid && row.state !== 'Z' && row.state !== 'X')
    .map((row) => row.pid);
}

/** The processes of a group, including those that have exited and were not waited for. */
export function groupOf(leaderPid: number): ProcessRow[] {
  return processTable().filter(({ group }) => group === leaderPid);
}

function processTable(): ProcessRow[] {
  return existsSync('/proc/self/stat') ? tableFromProc() : tableFromPs();
}

function tableFromProc(): ProcessRow[] {
  const rows: ProcessRow[] = [];
  for (const name of readdirSync('/proc')) {
    if (!/^\d+$/.test(name)) continue;
    try {
      const stat = readFileSync(`/proc/${name}/stat`, 'latin1');
      // The command name before the last bracket may itself contain spaces and brackets.
      const [state = '', parent, group] = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
      rows.push({ pid: Number(name), parentPid: Number(parent), state, group: Number(group) });
    } catch {
      // It exited in the meantime.
    }
  }
  return rows;
}

function tableFromPs(): ProcessRow[] {
  const text = execFileSync('ps', ['-A', '-o', 'pid=,ppid=,state=,pgid='], { encoding: 'utf8' });
  return text
    .trim()
    .split('\n')
    .map((line) => {
      const [pid, parent, state = '', group] = line.trim().split(/\s+/);
      const [parentPid, letter] = [Number(parent), state.slice(0, 1)];
      return { pid: Number(pid), parentPid, state: letter, group: Number(group) };
    });
}
