import { execFileSync } from 'node:child_process';
import { existsSync, readdirSync, readFileSync } from 'node:fs';

export interface ProcessRow {
  readonly pid: number;
  readonly parentPid: number;
  /** One letter as in ps; Z is a process that has ended and waits for its parent. */
  readonly state: string;
}

/**
 * Whether the process runs. One that has ended does not, even if its parent has not waited for it
 * yet.
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

function processTable(): ProcessRow[] {
  return existsSync('/proc/self/stat') ? tableFromProc() : tableFromPs();
}

function tableFromProc(): ProcessRow[] {
  const rows: ProcessRow[] = [];
  for (const name of readdirSync('/proc')) {
    if (!/^\d+$/.test(name)) continue;
    try {
      const stat = readFileSync(`/proc/${name}/stat`, 'latin1');
      // The command name before the last bracket may itself hold spaces and brackets.
      const [state = '', parentPid = ''] = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
      rows.push({ pid: Number(name), parentPid: Number(parentPid), state });
    } catch {
      // It ended while we looked.
    }
  }
  return rows;
}

function tableFromPs(): ProcessRow[] {
  const text = execFileSync('ps', ['-A', '-o', 'pid=,ppid=,state='], { encoding: 'utf8' });
  return text
    .trim()
    .split('\n')
    .map((line) => {
      const [pid = '', parentPid = '', state = ''] = line.trim().split(/\s+/);
      return { pid: Number(pid), parentPid: Number(parentPid), state: state.slice(0, 1) };
    });
}
