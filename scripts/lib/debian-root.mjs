import {
  copyFileSync,
  existsSync,
  mkdirSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { dirname, join } from 'node:path';

import { hasCommand } from './find-file.mjs';
import { llhttpSourceFile } from './llhttp-pin.mjs';
import { detectPlatform } from './platform.mjs';
import { say } from './progress.mjs';
import { capture, must, mustWithRetry } from './run-command.mjs';
import { SetupError } from './setup-error.mjs';
import { ensureSystemPackages } from './system-packages.mjs';

/*
 * A Debian root directory of its own, so that packages can be installed and removed without
 * touching the machine. Needs root. The mirror is the one that this machine installs from.
 */

const suites = { 12: 'bookworm', 13: 'trixie' };
const path = '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin';
const passedOn = /^(https?|no)_proxy$/i;

const tools = [
  {
    what: 'debootstrap',
    present: () => hasCommand('debootstrap') || existsSync('/usr/sbin/debootstrap'),
    apt: ['debootstrap'],
    brew: null,
  },
  {
    what: 'the command ip',
    present: () => hasCommand('ip'),
    apt: ['iproute2'],
    brew: null,
  },
];

/** Pseudo-terminals that are the root's own. */
const withTerminals = ['sh', '-c', 'mount -t devpts devpts "$0" && exec "$@"'];
/** For a network namespace of its own, which begins with its loopback down. */
const withLoopback = ['sh', '-c', 'ip link set lo up && exec "$@"', 'sh'];

/** Why such a root cannot be made here; null if it can. */
export async function whyNoRoot() {
  if (process.platform !== 'linux') return 'it needs Linux';
  if (process.getuid() !== 0) return 'it needs root (debootstrap, chroot and namespaces)';
  if (detectPlatform().packager !== 'apt') return 'it needs a Debian mirror';
  const probe = await capture('unshare', ['--fork', '--pid', '--mount', '--net', 'true']);
  return probe.code === 0 ? null : 'this machine allows no new namespaces';
}

/**
 * Makes `directory` a Debian with `packages`; does nothing if an earlier call has finished it.
 *
 * @param {string} directory
 * @param {string[]} packages
 * @param {{ release?: 12 | 13, foreign?: string, finish?: (root: string) => Promise<void> }}
 *   [options] an architecture whose packages can be installed beside the machine's own, and what
 *   else belongs to the root
 */
export async function ensureDebianRoot(
  directory,
  packages,
  { release = 13, foreign, finish } = {},
) {
  const suite = suites[release];
  const stamp = `${directory}.packages`;
  await ensureSystemPackages(tools);
  if (existsSync(directory) && readOrEmpty(stamp) === `${packages.join('\n')}\n`) return;
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
 * Runs a command inside, with /proc. Of the environment only the machine's proxies go in with it,
 * and what `env` names.
 *
 * @typedef {object} InsideOptions
 * @property {Record<string, string>} [env]
 * @property {string} [workdir]
 * @property {string} [user] `uid:gid`; root when left out
 * @property {'shared' | 'own' | number} [network] the machine's; one with nothing but loopback; or
 *   that of the process with this number
 *
 * @param {InsideOptions} [options]
 */
export function captureInRoot(root, command, options) {
  const [first, ...rest] = inRoot(root, command, options);
  return capture(first, rest);
}

function inRoot(root, command, options = {}) {
  return [...namespacesFor(root, options), ...chrooted(root, command, options)];
}

/**
 * What stands before a command so that it gets the root's /proc and /dev/pts and the network asked
 * for.
 */
export function namespacesFor(root, { network = 'shared' } = {}) {
  const spaces = [
    'unshare',
    '--fork',
    '--kill-child',
    '--pid',
    `--mount-proc=${join(root, 'proc')}`,
  ];
  const terminals = [...withTerminals, join(root, 'dev/pts')];
  if (network === 'shared') return [...spaces, ...terminals];
  if (network === 'own') return [...spaces, '--net', ...withLoopback, ...terminals];
  return ['nsenter', `--net=/proc/${network}/ns/net`, ...spaces, ...terminals];
}

/** The command that enters the root and runs `command` there, with an environment of its own. */
export function chrooted(root, command, { env = {}, workdir = '/', user = '0:0' } = {}) {
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
    ...['chroot', `--userspec=${user}`, root, 'env', '-i', `--chdir=${workdir}`],
    ...Object.entries(settings).map(([name, value]) => `${name}=${value}`),
    ...command,
  ];
}

function readOrEmpty(path) {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return '';
  }
}

/** The address that this machine's own apt sources name. */
function debianMirror() {
  const source = llhttpSourceFile(detectPlatform().codename);
  const uri = /^(?:URIs:|deb(?: \[[^\]]*\])?) +(\S+)/m.exec(source?.text ?? '')?.[1];
  if (uri) return uri;
  throw new SetupError('no apt source of this machine names a Debian mirror to debootstrap from.');
}
