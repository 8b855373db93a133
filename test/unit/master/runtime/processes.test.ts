import t from 'tap';
import { autoProcesses, cpuQuota } from '../../../../src/master/runtime/processes.js';

type Files = Readonly<Record<string, string>>;

const reader = (files: Files) => (path: string) => files[path] ?? null;

const cases: readonly {
  readonly name: string;
  readonly files: Files;
  readonly quota: number | null;
}[] = [
  { name: 'no cgroups (macOS)', files: {}, quota: null },
  {
    name: 'version 2 without a limit',
    files: { '/proc/self/cgroup': '0::/\n', '/sys/fs/cgroup/cpu.max': 'max 100000\n' },
    quota: null,
  },
  {
    name: 'version 2, limit on the own group',
    files: {
      '/proc/self/cgroup': '0::/user.slice/app.service\n',
      '/sys/fs/cgroup/user.slice/app.service/cpu.max': '150000 100000\n',
      '/sys/fs/cgroup/user.slice/cpu.max': 'max 100000\n',
    },
    quota: 1.5,
  },
  {
    name: 'version 2, a tighter limit on an enclosing group',
    files: {
      '/proc/self/cgroup': '0::/pods/a/b\n',
      '/sys/fs/cgroup/pods/a/b/cpu.max': '800000 100000\n',
      '/sys/fs/cgroup/pods/cpu.max': '250000 100000\n',
    },
    quota: 2.5,
  },
  {
    name: 'version 2 in a container with its own namespace',
    files: { '/proc/self/cgroup': '0::/\n', '/sys/fs/cgroup/cpu.max': '50000 100000\n' },
    quota: 0.5,
  },
  {
    name: 'version 2, a path that leaves the namespace',
    files: { '/proc/self/cgroup': '0::/../other\n', '/sys/fs/cgroup/cpu.max': '300000 100000\n' },
    quota: 3,
  },
  {
    name: 'version 1',
    files: {
      '/proc/self/cgroup': '5:memory:/docker/abc\n4:cpu,cpuacct:/docker/abc\n1:name=systemd:/\n',
      '/sys/fs/cgroup/cpu,cpuacct/docker/abc/cpu.cfs_quota_us': '200000\n',
      '/sys/fs/cgroup/cpu,cpuacct/docker/abc/cpu.cfs_period_us': '100000\n',
      '/sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us': '-1\n',
      '/sys/fs/cgroup/cpu,cpuacct/cpu.cfs_period_us': '100000\n',
    },
    quota: 2,
  },
  {
    name: 'version 1 in a container that sees the host’s path',
    files: {
      '/proc/self/cgroup': '4:cpu,cpuacct:/docker/abc\n',
      '/sys/fs/cgroup/cpu/cpu.cfs_quota_us': '100000\n',
      '/sys/fs/cgroup/cpu/cpu.cfs_period_us': '100000\n',
    },
    quota: 1,
  },
  {
    name: 'both, as on a hybrid machine',
    files: {
      '/proc/self/cgroup': '3:cpuset:/\n2:cpu:/x\n0::/x\n',
      '/sys/fs/cgroup/cpu/x/cpu.cfs_quota_us': '400000\n',
      '/sys/fs/cgroup/cpu/x/cpu.cfs_period_us': '100000\n',
    },
    quota: 4,
  },
  {
    name: 'files that make no sense',
    files: { '/proc/self/cgroup': 'garbage\n0::\n0::/\n', '/sys/fs/cgroup/cpu.max': '\n' },
    quota: null,
  },
];

for (const { name, files, quota } of cases) {
  t.test(name, async (t) => {
    t.equal(cpuQuota(reader(files)), quota);
  });
}

t.test('auto is the smaller of affinity and quota, rounded up, at least 1', async (t) => {
  const quota = (max: string) =>
    reader({ '/proc/self/cgroup': '0::/', '/sys/fs/cgroup/cpu.max': max });
  t.equal(autoProcesses(8, quota('max 100000')), 8);
  t.equal(autoProcesses(8, quota('250000 100000')), 3);
  t.equal(autoProcesses(2, quota('800000 100000')), 2);
  t.equal(autoProcesses(8, quota('10000 100000')), 1);
  t.equal(autoProcesses(0, reader({})), 1);
});
