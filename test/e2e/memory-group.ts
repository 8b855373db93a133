import { existsSync, mkdirSync, rmdirSync, writeFileSync } from 'node:fs';
import type { Test } from 'tap';
import { until } from './until.js';

/** A memory cgroup: limits the memory of its processes together; the OOM killer does the rest. */
export interface MemoryGroup {
  readonly add: (pid: number) => void;
}

/** Where groups are created, and their limit files, in version 2 and in version 1. */
const KINDS = [
  { root: '/sys/fs/cgroup', limit: 'memory.max', swap: 'memory.swap.max', without: () => 0 },
  {
    root: '/sys/fs/cgroup/memory',
    limit: 'memory.limit_in_bytes',
    swap: 'memory.memsw.limit_in_bytes', // both together
    without: (bytes: number) => bytes,
  },
];
let number = 0;

/** The test's end removes it. Null: this user cannot create one here. */
export function memoryGroup(t: Test, bytes: number): MemoryGroup | null {
  for (const { root, limit, swap, without } of KINDS) {
    const path = `${root}/moonring-test-${process.pid}-${number++}`;
    try {
      mkdirSync(path);
    } catch {
      continue;
    }
    if (!existsSync(`${path}/${limit}`)) {
      rmdirSync(path);
      continue;
    }
    writeFileSync(`${path}/${limit}`, String(bytes));
    if (existsSync(`${path}/${swap}`)) writeFileSync(`${path}/${swap}`, String(without(bytes)));
    t.teardown(() => until('the group is empty', () => removed(path)));
    return { add: (pid) => writeFileSync(`${path}/cgroup.procs`, String(pid)) };
  }
  return null;
}

function removed(path: string): boolean {
  try {
    rmdirSync(path);
    return true;
  } catch {
    return false;
  }
}
