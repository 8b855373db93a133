import { copyFileSync, existsSync, mkdirSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';

import { hasCommand } from './find-file.mjs';
import { llhttpSourceFile } from './llhttp-pin.mjs';
import { detectPlatform } from './platform.mjs';
import { say } from './progress.mjs';
import { capture, must, mustWithRetry } from './run-command.mjs';
import { SetupError } from './setup-error.mjs';
import { ensureSystemPackages } from './system-packages.mjs';

/*
 * A Debian 13 root directory of its own, so that packages can be installed and removed without
 * touching the machine. Needs root. The mirror is the one that this machine installs from.
 */

const suite = 'trixie';
const path = '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin';
const passedOn = /^(https?|no)_proxy$/i;

const debootstrap = {
  what: 'debootstrap',
  present: () => hasCommand('debootstrap') || existsSync('/usr/sbin/debootstrap'),
  apt: ['debootstrap'],
  brew: null,
};

/** Why such a root cannot be made here; null if it can. */
export async function whyNoRoot() {
  if (process.platform !== 'linux') return 'it needs Linux';
  if (process.getuid() !== 0) return 'it needs root (debootstrap, chroot and namespaces)';
  if (detectPlatform().packager !== 'apt') return 'it needs a Debian mirror';
  const probe = await capture('unshare', ['--fork', '--pid', '--mount', '--net', 'true']);
  return probe.code === 0 ? null : 'this machine allows no new namespaces';
}

/**
 * Makes `directory` a Debian 13 with `packages`; does nothing if an earlier call has finished it.
 *
 * @param {string} directory
 * @param {string[]} packages
 * @param {{ foreign?: string, finish?: (root: string) => Promise<void> }} [options] an architecture
 *   whose packages can be installed beside the machine's own, and what else belongs to the root
 */
export async function ensureDebianRoot(directory, packages, { foreign, finish } = {}) {
  const stamp = `${directory}.packages`;
  if (existsSync(directory) && existsSync(stamp)) return;
  await ensureSystemPackages([debootstrap]);
  const draft = `${directory}.draft`;
  rmSync(draft, { recursive: true, force: true });
  rmSync(directory, { recursive: true, force: true });
  mkdirSync(dirname(directory), { recursive: true });
  say(`debootstrap ${suite}`);
  await mustWithRetry('debootstrap', ['--variant=minbase', suite, draft, debianMirror()]);
  for (const name of ['etc/resolv.conf', 'etc/hosts']) copyFileSync(`/${name}`, join(draft, name));
  if (foreign) await mustInRoot(draft, ['dpkg', '--add-architecture', foreign]);
  await installPackages(draft, packages);
  await finish?.(draft);
  renameSync(draft, directory);
  writeFileSync(stamp, `${packages.join('\n')}\n`);
}

async function installPackages(root, packages) {
  say(`apt-get install ${packages.join(' ')}`);
  await mustInRoot(root, ['apt-get', '-q', 'update']);
  const install = ['apt-get', '-q', '-y', '--no-install-recommends', 'install', ...packages];
  await mustInRoot(root, install);
}

/** Like captureInRoot, but a failure is a SetupError that holds everything the command said. */
export function mustInRoot(root, command, options) {
  const [first, ...rest] = inRoot(root, command, options);
  return must(first, rest);
}

/**
 * Runs a command inside, as root, with /proc. Of the environment only the machine's proxies go in
 * with it, and what `env` names.
 *
 * @param {{ env?: Record<string, string>, workdir?: string }} [options]
 */
export function captureInRoot(root, command, options) {
  const [first, ...rest] = inRoot(root, command, options);
  return capture(first, rest);
}

function inRoot(root, command, { env = {}, workdir = '/' } = {}) {
  const proxies = Object.entries(process.env).filter(([name]) => passedOn.test(name));
  const settings = {
    PATH: path,
    HOME: '/var/tmp',
    LC_ALL: 'C.UTF-8',
    DEBIAN_FRONTEND: 'noninteractive',
    ...Object.fromEntries(proxies),
    ...env,
  };
  return [
    ...['unshare', '--fork', '--kill-child', '--pid', `--mount-proc=${join(root, 'proc')}`],
    ...['chroot', root, 'env', '-i', `--chdir=${workdir}`],
    ...Object.entries(settings).map(([name, value]) => `${name}=${value}`),
    ...command,
  ];
}

/** The address that this machine's own apt sources name. */
function debianMirror() {
  const source = llhttpSourceFile(detectPlatform().codename);
  const uri = /^(?:URIs:|deb(?: \[[^\]]*\])?) +(\S+)/m.exec(source?.text ?? '')?.[1];
  if (uri) return uri;
  throw new SetupError('no apt source of this machine names a Debian mirror to debootstrap from.');
}
