/**
 * The number of reactors for `--processes auto`: the cores allowed by affinity and the cgroup
 * quota. Pure.
 */

const CGROUP_ROOT = '/sys/fs/cgroup';

/** The text of a file, `null` if it cannot be read. */
export type ReadText = (path: string) => string | null;

/**
 * `affinity`: the cores this process may run on. The tightest quota of all enclosing groups counts.
 */
export function autoProcesses(affinity: number, readText: ReadText): number {
  const quota = cpuQuota(readText);
  const cores = quota === null ? affinity : Math.min(affinity, Math.ceil(quota));
  return Math.max(1, cores);
}

/** Cores' worth of CPU time that the cgroups allow; `null` without a limit. */
export function cpuQuota(readText: ReadText): number | null {
  const groups = (readText('/proc/self/cgroup') ?? '').split('\n').flatMap(parseGroup);
  const quotas = groups.flatMap((group) => groupQuotas(group, readText));
  return quotas.length === 0 ? null : Math.min(...quotas);
}

interface Group {
  readonly version: 1 | 2;
  /** Where the hierarchy may be mounted. */
  readonly mounts: readonly string[];
  readonly path: string;
}

/** A line of /proc/self/cgroup: `0::/path` for version 2, `4:cpu,cpuacct:/path` for version 1. */
function parseGroup(line: string): Group[] {
  const match = /^(\d+):([^:]*):(\/.*)$/.exec(line);
  const [controllers, path] = [match?.[2], match?.[3]];
  if (controllers === undefined || path === undefined) return [];
  if (controllers === '') {
    return [{ version: 2, mounts: [CGROUP_ROOT, `${CGROUP_ROOT}/unified`], path }];
  }
  if (!controllers.split(',').includes('cpu')) return [];
  return [{ version: 1, mounts: [`${CGROUP_ROOT}/${controllers}`, `${CGROUP_ROOT}/cpu`], path }];
}

function groupQuotas({ version, mounts, path }: Group, readText: ReadText): number[] {
  const read = version === 2 ? quotaV2 : quotaV1;
  return mounts.flatMap((mount) =>
    enclosing(path).flatMap((group) => read(`${mount}${group}`, readText)),
  );
}

/**
 * The groups around a path, outermost first: ``, `/a`, `/a/b`. A path that leaves the cgroup
 * namespace (`/../x`) cannot be seen from here: only its root.
 */
function enclosing(path: string): string[] {
  const parts = path.split('/').filter((part) => part !== '');
  if (parts.includes('..')) return [''];
  return ['', ...parts.map((_, i) => `/${parts.slice(0, i + 1).join('/')}`)];
}

function quotaV2(directory: string, readText: ReadText): number[] {
  const [quota, period] = (readText(`${directory}/cpu.max`) ?? '').trim().split(' ');
  return ratio(quota, period);
}

function quotaV1(directory: string, readText: ReadText): number[] {
  const quota = readText(`${directory}/cpu.cfs_quota_us`);
  const period = readText(`${directory}/cpu.cfs_period_us`);
  return ratio(quota?.trim(), period?.trim());
}

/** Nothing for `max`, `-1` and missing files. */
function ratio(quota: string | undefined, period: string | undefined): number[] {
  const cores = Number(quota) / Number(period);
  return Number.isFinite(cores) && cores > 0 ? [cores] : [];
}
