import { readdirSync, readFileSync, readlinkSync } from 'node:fs';

/*
 * Samples a server's processes from outside while it is under load, through /proc. On other
 * systems it has no samples.
 */

const everyMs = 1000;
const established = '01';

/**
 * @typedef {{ pid: number, connections: number, descriptors: number, residentKb: number }} Reactor
 * @param {() => { pid: number, port: number }[]} servers called for each sample
 */
export function startSampler(servers) {
  /** @type {{ atMs: number, reactors: Reactor[] }[]} */
  const samples = [];
  const startedAt = performance.now();
  const timer = setInterval(() => {
    const reactors = servers().flatMap(({ pid, port }) => reactorsOf(pid, port));
    if (reactors.length > 0) samples.push({ atMs: performance.now() - startedAt, reactors });
  }, everyMs);
  return {
    samples,
    stop: () => clearInterval(timer),
  };
}

function reactorsOf(master, port) {
  try {
    const inodes = connectionsTo(port);
    return childrenOf(master).flatMap((pid) => reactor(pid, inodes));
  } catch {
    return [];
  }
}

/** @returns {Reactor[]} empty if the process has just exited */
function reactor(pid, inodes) {
  try {
    const descriptors = readdirSync(`/proc/${pid}/fd`).flatMap((name) => linkOf(pid, name));
    const status = readFileSync(`/proc/${pid}/status`, 'utf8');
    const connections = descriptors.filter((link) => inodes.has(link)).length;
    const residentKb = Number(/^VmRSS:\s*(\d+)/m.exec(status)?.[1] ?? 0);
    return [{ pid, connections, descriptors: descriptors.length, residentKb }];
  } catch {
    return [];
  }
}

function linkOf(pid, name) {
  try {
    return [readlinkSync(`/proc/${pid}/fd/${name}`)];
  } catch {
    return [];
  }
}

/** The sockets, as named in /proc, of established connections with that local port. */
function connectionsTo(port) {
  const suffix = `:${port.toString(16).toUpperCase().padStart(4, '0')}`;
  const links = new Set();
  for (const file of ['/proc/net/tcp', '/proc/net/tcp6']) {
    for (const line of readFileSync(file, 'utf8').split('\n').slice(1)) {
      const [, local, , state, , , , , , inode] = line.trim().split(/\s+/);
      if (local?.endsWith(suffix) && state === established) links.add(`socket:[${inode}]`);
    }
  }
  return links;
}

function childrenOf(pid) {
  const text = readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8');
  return text.trim().split(' ').filter(Boolean).map(Number);
}

/**
 * How much the reactors together grew between the second and the last quarter of a run; 1: not at
 * all. Null if there are too few samples.
 *
 * @param {'residentKb' | 'descriptors'} what
 */
export function growth(samples, what) {
  const quarter = Math.floor(samples.length / 4);
  if (quarter < 10) return null;
  const mean = (part) =>
    part.reduce((sum, { reactors }) => sum + reactors.reduce((all, one) => all + one[what], 0), 0) /
    part.length;
  return mean(samples.slice(-quarter)) / mean(samples.slice(quarter, 2 * quarter));
}
